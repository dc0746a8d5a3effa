"""Where a training run stands, on disk: what a killed run goes on from."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from radcap import files, layout, records
from radcap.errors import UserError
from radcap.settings import Settings

# Workers of a killed trainer hold its locks until they notice.
PATIENCE = 15.0


def fingerprint(settings: Settings, key: str) -> str:
    """SHA-256 (first 16 digits) of everything that decides how a model's weights come out.

    Resolved settings, the base's and the splits' bytes, package versions, the code, the kind of device.
    """
    model, profile = settings.model(key), settings.active
    defining: dict[str, Any] = {
        "seed": settings.seed,
        "profile": profile.model_dump(mode="json", include={"threads", "dtype", "loader", "weights", model.tuning}),
        "tuning": (settings.adapters if model.tuning == "lora" else settings.full).model_dump(mode="json"),
        "accelerate": _content(settings.train.accelerate),
        "train": settings.train.model_dump(mode="json", exclude={"resume"}),
        "instruction": settings.prompt.instruction,
        "model": model.model_dump(mode="json", exclude={"modality_instruction", "prompts"}),
        "base": files.folder_hashes(layout.base(key)),
        "splits": {name: files.sha256(layout.split(name)) for name in ("train", "valid")},
        "packages": records.versions(*records.PACKAGES),
        "code": records.code("adapt", "caption/prompts.py", "data", "models", "train"),
        "device": records.device(),
    }
    return hashlib.sha256(json.dumps(defining, sort_keys=True).encode()).hexdigest()[:16]


def _content(config: str) -> str:
    return "" if config == "none" else files.sha256(Path(config))


class States:
    """States of one run in a folder of their own, each named by its step and whole or absent; the newest counts."""

    def __init__(self, folder: Path, *, label: str) -> None:
        self.folder, self.label = folder, label

    def latest(self) -> Path | None:
        found = sorted(self.folder.glob("step-*"))
        return found[-1] if found else None

    @contextlib.contextmanager
    def write(self, step: int) -> Iterator[Path]:
        """Yield a folder that becomes the state of a step when the block ends well; older states go then."""
        with files.whole_folder(self.folder / f"step-{step:08d}") as beside:
            yield beside
        for old in sorted(self.folder.glob("step-*"))[:-1]:
            shutil.rmtree(old)

    def clear(self, why: str) -> None:
        """Delete the states, and say so. Killed meanwhile, it leaves nothing that looks like a state."""
        if self.folder.exists():
            print(f"{self.label}: {why}, its states in {self.folder} are deleted")
            gone = self.folder.with_name(f".{self.folder.name}.gone")
            shutil.rmtree(gone, ignore_errors=True)
            self.folder.rename(gone)
            shutil.rmtree(gone)


def of_run(settings: Settings, key: str) -> States:
    """The states of a model's run under these settings."""
    return States(layout.states(key) / fingerprint(settings, key), label=f"finetune {key}")


@contextlib.contextmanager
def claimed(settings: Settings, key: str) -> Iterator[States]:
    """The states of a model's run, ours alone until the block ends; when it ends well they are deleted.

    UserError while another process trains the same: a trainer that outlived its pipeline would write over ours.
    States of other runs of the model that nobody touched for `train.resume.keep_days` go first.
    """
    states = of_run(settings, key)
    folder, label = states.folder, states.label
    # The workspace's models/M is one place, a run's states are another, which queued experiments share.
    with _alone(layout.record("finetune", key).with_suffix(".lock"), label), _alone(_lock(folder), label):
        _drop_stale(folder, days=settings.train.resume.keep_days, label=label)
        for unfinished in folder.glob(".step-*"):
            shutil.rmtree(unfinished)
        yield states
        states.clear("the run is finished")


def _lock(folder: Path) -> Path:
    """Lock files stay: who deletes one may take it from a process that has just opened it."""
    return folder.with_name(f"{folder.name}.lock")


@contextlib.contextmanager
def _alone(path: Path, label: str) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    holder = path.with_suffix(".pid")
    try:
        with FileLock(path, timeout=PATIENCE):
            holder.write_text(str(os.getpid()))
            yield
            holder.unlink(missing_ok=True)
    except Timeout:
        pid = holder.read_text() if holder.exists() else "unknown"
        raise UserError(f"{label}: process {pid} still trains it ({path} is locked); stop it, or wait") from None


def _drop_stale(current: Path, *, days: int, label: str) -> None:
    """Delete the states of other runs that are older and that nobody works on."""
    for folder in sorted(current.parent.glob("*/")):
        age = (time.time() - max(p.stat().st_mtime for p in (folder, *folder.iterdir()))) / 86400
        if folder == current or age < days:
            continue
        with contextlib.suppress(Timeout), FileLock(_lock(folder), timeout=0):
            States(folder, label=label).clear(f"an older run was left {age:.0f} days ago")
