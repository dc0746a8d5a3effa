"""A stage in several processes on this machine, one a GPU where there are GPUs."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from radcap.errors import UserError

if TYPE_CHECKING:
    import torch


def rank_and_size() -> tuple[int, int]:
    """This process's number and how many there are: (0, 1) unless a launcher started several."""
    return int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))


def device() -> torch.device:
    """Where this process computes: its own GPU, else the CPU."""
    import torch
    from accelerate import PartialState

    # Without GPUs accelerate would take Apple's, whose sums are other ones.
    found: torch.device = PartialState(cpu=not torch.cuda.is_available()).device
    return found


def launch(script: str, *arguments: str, processes: int) -> None:
    """Run a script of stages/ in several processes and wait. UserError when one fails, which ends the others.

    By torch's launcher, to which `accelerate launch` hands over on GPUs; on CPUs that one starts a single process.
    """
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    if subprocess.run([*command, script, *arguments], check=False).returncode:
        raise UserError(f"{script}: one of {processes} processes failed; its own message stands above")
