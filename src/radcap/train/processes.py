"""Several processes that train one model together, started by `accelerate launch`."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from radcap.errors import UserError
from radcap.settings import Train

ERROR = "radcap: error: "


def count() -> int:
    """How many processes train together with this one."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first() -> bool:
    """Whether this is the process that writes results; alone it always is."""
    return os.environ.get("RANK", "0") == "0"


def sharded() -> bool:
    """Whether the processes share one model's weights (FSDP) instead of holding one each; accelerate does on GPUs."""
    import torch

    return os.environ.get("ACCELERATE_USE_FSDP", "false") == "true" and torch.cuda.is_available()


def launch(train: Train, script: str, *arguments: str) -> bool:
    """Run a stage's script in the processes that the settings ask for and wait; False: this process is to do it alone.

    UserError with the message of the process that failed; the others are ended then.
    """
    if "WORLD_SIZE" in os.environ or (train.processes == 1 and train.accelerate == "none"):
        return False
    command = [sys.executable, "-m", "accelerate.commands.launch", "--num_processes", str(train.processes)]
    if train.accelerate == "none":
        command += ["--multi_gpu", "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
        # Any free port: two models may train side by side.
        command += ["--main_process_port", "0"]
    elif Path(train.accelerate).is_file():
        command += ["--config_file", train.accelerate]
    else:
        raise UserError(
            f"train.accelerate: no file {train.accelerate!r}; it names a configuration of accelerate, or none"
        )
    process = subprocess.Popen([*command, script, *arguments], stderr=subprocess.PIPE, text=True)
    assert process.stderr
    message = _forward(process.stderr)
    if process.wait():
        raise UserError(message or f"one of {train.processes} processes ended with an error, which stands above")
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
