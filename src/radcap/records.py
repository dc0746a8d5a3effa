"""What a run was: the stable part goes into hashed results, the volatile part into runs/."""

import contextlib
import hashlib
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
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


def code(*names: str) -> str:
    """SHA-256 of modules of radcap (files) and of packages (folders, whole), by their paths below it."""
    root = Path(__file__).parent
    paths = [
        path for name in names for path in ([root / name] if name.endswith(".py") else (root / name).rglob("*.py"))
    ]
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(f"{path.relative_to(root).as_posix()} {files.sha256(path)}\n".encode())
    return digest.hexdigest()


def peaks() -> dict[str, int | None]:
    """Peak memory of this process, and of its GPU where it uses one, in MiB."""
    peak, torch = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, _cuda()
    return {
        "peak_memory_mib": round(peak / (1024 if sys.platform == "linux" else 1024**2)),
        "device_peak_memory_mib": round(torch.cuda.max_memory_allocated() / 2**20) if torch else None,
    }


def _cuda() -> Any:
    """torch, where it was imported and sees a GPU."""
    torch: Any = sys.modules.get("torch")
    return torch if torch is not None and torch.cuda.is_available() else None


def device() -> str:
    """What computes: the GPU's name, or the kind of processor. Other kinds give other last digits."""
    torch = _cuda()
    return str(torch.cuda.get_device_name()) if torch else platform.machine()


@contextlib.contextmanager
def volatile(stage: str, model: str | None = None) -> Iterator[dict[str, Any]]:
    """Write runs/<stage>[@model].json when the block ends well: seconds, peak memory, host, commit, device.

    The block may add to the record that it is given.
    """
    start = time.perf_counter()
    record: dict[str, Any] = {}
    yield record
    memory = peaks()
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
    files.write_json(layout.record(stage, model), record)
