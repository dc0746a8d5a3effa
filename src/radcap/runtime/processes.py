"""Running a stage in several processes, one per GPU if there are GPUs, with `accelerate launch`."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from radcap.errors import UserError

if TYPE_CHECKING:
    import torch

ERROR = "radcap: error: "


def world_size() -> int:
    """The number of processes that work together, including this one."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """The number of this process among them, from 0."""
    return int(os.environ.get("RANK", "0"))


def is_main_process() -> bool:
    """Whether this is the process that writes the results. A single process always is."""
    return rank() == 0


def device() -> torch.device:
    """The device of this process: its own GPU, or else the CPU."""
    import torch
    from accelerate import PartialState

    # Without CUDA, accelerate would choose Apple's GPU, whose sums differ.
    process_device: torch.device = PartialState(cpu=not torch.cuda.is_available()).device
    return process_device


def uses_fsdp() -> bool:
    """Whether the processes share the weights of one model (FSDP) instead of each holding all. Only on GPUs."""
    import torch

    return os.environ.get("ACCELERATE_USE_FSDP", "false") == "true" and torch.cuda.is_available()


def launch(script: str, *arguments: str, processes: int, config: str = "none") -> bool:
    """Run a stage's script in several processes and wait for them.

    Returns False, without starting anything, when this process must do the work: one process is enough, or it is
    itself one of several. `config` is a configuration file of accelerate (FSDP, several machines), or "none". When a
    process fails, the others are stopped, and its message is raised as a UserError.
    """
    if "WORLD_SIZE" in os.environ or (processes == 1 and config == "none"):
        return False
    command = [sys.executable, "-m", "accelerate.commands.launch", "--num_processes", str(processes)]
    if config == "none":
        command += ["--multi_gpu", "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
        # Any free port: two models may train at the same time.
        command += ["--main_process_port", "0"]
    elif Path(config).is_file():
        command += ["--config_file", config]
    else:
        raise UserError(f"train.accelerate: no file {config!r}; give a configuration file of accelerate, or none")
    process = subprocess.Popen([*command, script, *arguments], stderr=subprocess.PIPE, text=True)
    assert process.stderr
    message = _forward(process.stderr)
    if process.wait():
        raise UserError(message or f"one of {processes} processes failed; see its error above")
    return True


def _forward(lines: Iterable[str]) -> str | None:
    """Forward the error output of the processes up to radcap's error line, and return that line without its prefix.

    What follows comes only from the other processes being stopped.
    """
    message = None
    for line in lines:
        if message is None and line.startswith(ERROR):
            message = line.removeprefix(ERROR).strip()
        if message is None:
            sys.stderr.write(line)
    return message


def silence_other_processes() -> None:
    """Let only the main process print."""
    if not is_main_process():
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
