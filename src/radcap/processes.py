"""A stage in several processes, a GPU each where there are GPUs, started by `accelerate launch`."""

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


def count() -> int:
    """How many processes work together with this one."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """This process's number among them."""
    return int(os.environ.get("RANK", "0"))


def is_first() -> bool:
    """Whether this is the process that writes results; alone it always is."""
    return rank() == 0


def device() -> torch.device:
    """Where this process computes: its own GPU, else the CPU."""
    import torch
    from accelerate import PartialState

    # Without GPUs accelerate would take Apple's, whose sums are other ones.
    found: torch.device = PartialState(cpu=not torch.cuda.is_available()).device
    return found


def sharded() -> bool:
    """Whether the processes share one model's weights (FSDP) instead of holding one each; accelerate does on GPUs."""
    import torch

    return os.environ.get("ACCELERATE_USE_FSDP", "false") == "true" and torch.cuda.is_available()


def launch(script: str, *arguments: str, processes: int, config: str = "none") -> bool:
    """Run a stage's script in so many processes and wait; False: this process is to do it alone, or is one of them.

    `config`: a configuration of accelerate (FSDP, several nodes), or none. UserError with the message of the process
    that failed; the others are ended then.
    """
    if "WORLD_SIZE" in os.environ or (processes == 1 and config == "none"):
        return False
    command = [sys.executable, "-m", "accelerate.commands.launch", "--num_processes", str(processes)]
    if config == "none":
        command += ["--multi_gpu", "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
        # Any free port: two models may be at work side by side.
        command += ["--main_process_port", "0"]
    elif Path(config).is_file():
        command += ["--config_file", config]
    else:
        raise UserError(f"train.accelerate: no file {config!r}; it names a configuration of accelerate, or none")
    process = subprocess.Popen([*command, script, *arguments], stderr=subprocess.PIPE, text=True)
    assert process.stderr
    message = _forward(process.stderr)
    if process.wait():
        raise UserError(message or f"one of {processes} processes ended with an error, which stands above")
    return True


def _forward(lines: Iterable[str]) -> str | None:
    """Pass the processes' error output on, up to radcap's own error line: what follows is the others' end.

    Returns the error without radcap's prefix.
    """
    message = None
    for line in lines:
        if message is None and line.startswith(ERROR):
            message = line.removeprefix(ERROR).strip()
        if message is None:
            sys.stderr.write(line)
    return message


def quiet() -> None:
    """Let just the first process print."""
    if not is_first():
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
