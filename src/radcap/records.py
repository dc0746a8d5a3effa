"""What a run was: the stable part goes into hashed results, the volatile part into runs/."""

import contextlib
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

from radcap import files, layout

PACKAGES = ("torch", "transformers", "tokenizers", "peft", "accelerate", "datasets")


def versions(*packages: str) -> dict[str, str]:
    """Installed versions; torch's local build suffix is left out, as the lock file leaves it out."""
    return {name: version(name).split("+")[0] for name in packages}


def commit() -> str | None:
    """The commit of the workspace, with -dirty where tracked files differ; None outside git."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or None


def device() -> str:
    """What computes: the GPU's name, or the kind of processor. Other kinds give other last digits."""
    torch: Any = sys.modules.get("torch")
    return str(torch.cuda.get_device_name()) if torch and torch.cuda.is_available() else platform.machine()


@contextlib.contextmanager
def volatile(stage: str, model: str | None = None) -> Iterator[dict[str, Any]]:
    """Write runs/<stage>[@model].json when the block ends well: seconds, peak memory, host, commit, device.

    The block may add to the record that it is given.
    """
    start = time.perf_counter()
    record: dict[str, Any] = {}
    yield record
    torch: Any = sys.modules.get("torch")
    cuda = torch is not None and torch.cuda.is_available()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    record = {
        "seconds": round(time.perf_counter() - start, 2),
        "peak_memory_mib": round(peak / (1024 if sys.platform == "linux" else 1024**2)),
        "device": device(),
        "device_peak_memory_mib": round(torch.cuda.max_memory_allocated() / 2**20) if cuda else None,
        "host": platform.node(),
        "python": platform.python_version(),
        "commit": commit(),
        "ended": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        **record,
    }
    files.write_json(layout.record(stage, model), record)
