"""What a run ran with: versions and code go into hashed results; time, memory and host go into runs/."""

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
    """Installed versions. A local build suffix such as torch's +cpu is left out, as in the lock file."""
    return {name: version(name).split("+")[0] for name in packages}


def commit() -> str | None:
    """The commit of the workspace, with -dirty if tracked files differ from it; None outside a git repository."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or None


def peak_memory() -> dict[str, int | None]:
    """Peak memory of this process, and of its GPU if it uses one, in MiB."""
    peak, torch = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, _cuda()
    return {
        "peak_memory_mib": round(peak / (1024 if sys.platform == "linux" else 1024**2)),
        "device_peak_memory_mib": round(torch.cuda.max_memory_allocated() / 2**20) if torch else None,
    }


def _cuda() -> Any:
    """torch, if it has been imported and sees a GPU."""
    torch: Any = sys.modules.get("torch")
    return torch if torch is not None and torch.cuda.is_available() else None


def device() -> str:
    """The name of the GPU, or the kind of processor. On another kind the last digits of results differ."""
    torch = _cuda()
    return str(torch.cuda.get_device_name()) if torch else platform.machine()


@contextlib.contextmanager
def run_record(stage: str, model: str | None = None) -> Iterator[dict[str, Any]]:
    """Write runs/<stage>[@model].json when the block succeeds: seconds, peak memory, host, commit, device.

    The block may add entries to the record that it is given.
    """
    start = time.perf_counter()
    record: dict[str, Any] = {}
    yield record
    memory = peak_memory()
    record = {
        "seconds": round(time.perf_counter() - start, 2),
        "peak_memory_mib": memory["peak_memory_mib"],
        "device": device(),
        "device_peak_memory_mib": memory["device_peak_memory_mib"],
        "host": platform.node(),
        "python": platform.python_version(),
        "commit": commit(),
        "ended": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        **record,
    }
    files.write_json(layout.run_record(stage, model), record)
