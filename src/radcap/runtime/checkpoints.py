"""Training checkpoints: what they hold, when they belong to a run, and who may use them.

A run's checkpoints lie in a folder that is named by a fingerprint of everything that decides the weights, so that a run
never resumes from the checkpoint of a different one.
"""

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

from accelerate.utils import broadcast_object_list
from filelock import FileLock, Timeout
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers.trainer import TRAINER_STATE_NAME

from radcap import files, layout
from radcap.errors import UserError
from radcap.pipeline import resolve
from radcap.runtime import records
from radcap.settings import Settings

WEIGHTS, BEST_WEIGHTS, PROGRESS = "weights.safetensors", "best.safetensors", "log.json"
# Seconds to wait for a lock: the data loader processes of a killed run hold it until they notice.
LOCK_TIMEOUT = 15.0


class TrainingCheckpoints:
    """The checkpoints of one run: a folder for each, named by its step. It is complete or absent; the newest counts."""

    def __init__(self, folder: Path, *, label: str) -> None:
        self.folder, self.label = folder, label

    def latest(self) -> Path | None:
        checkpoints = sorted(self.folder.glob("step-*"))
        return checkpoints[-1] if checkpoints else None

    @contextlib.contextmanager
    def write(self, step: int) -> Iterator[Path]:
        """Yield a folder that becomes the checkpoint of a step when the block succeeds. Older ones are then deleted."""
        with files.atomic_folder(self.folder / f"step-{step:08d}") as folder:
            yield folder
        for outdated in sorted(self.folder.glob("step-*"))[:-1]:
            shutil.rmtree(outdated)

    def delete(self, reason: str) -> None:
        """Delete all checkpoints, and print why. If it is killed meanwhile, nothing that looks like one is left."""
        if self.folder.exists():
            print(f"{self.label}: {reason}; deleting its checkpoints in {self.folder}")
            trash = self.folder.with_name(f".{self.folder.name}.gone")
            shutil.rmtree(trash, ignore_errors=True)
            self.folder.rename(trash)
            shutil.rmtree(trash)


def checkpoint_step(folder: Path) -> int:
    """The step of a checkpoint, from the name of its folder."""
    return int(folder.name.removeprefix("step-"))


def training_fingerprint(settings: Settings, key: str) -> str:
    """SHA-256 (first 16 digits) of everything that decides a model's fine-tuned weights.

    What DVC makes the stage depend on (its parameters and code, the base, the splits), package versions, and the kind
    of device.
    """
    inputs: dict[str, Any] = {
        "resolved": resolve.resolved(settings, "finetune", key),
        "accelerate": _content(settings.train.accelerate),
        "base": files.folder_hashes(layout.base(key)),
        "splits": {name: files.sha256(layout.split(name)) for name in ("train", "valid")},
        "packages": records.versions(*records.PACKAGES),
        "device": records.device(),
    }
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:16]


def _content(config: str) -> str:
    return "" if config == "none" else files.sha256(Path(config))


def checkpoints_of(settings: Settings, key: str) -> TrainingCheckpoints:
    """The checkpoints of a model's fine-tuning under these settings."""
    return TrainingCheckpoints(
        layout.training_checkpoints(key) / training_fingerprint(settings, key), label=f"finetune {key}"
    )


@contextlib.contextmanager
def locked_checkpoints(settings: Settings, key: str) -> Iterator[TrainingCheckpoints]:
    """The checkpoints of a model's fine-tuning, locked for this process. They are deleted when the block succeeds.

    UserError while another process trains the same model: a trainer that survived its pipeline would overwrite them.
    First, checkpoints of other runs that were not used for `train.resume.keep_days` days are deleted.
    """
    checkpoints = checkpoints_of(settings, key)
    folder, label = checkpoints.folder, checkpoints.label
    # Two locks: models/<key> belongs to this workspace, but queued experiments share the run's checkpoints.
    with _locked(layout.run_record("finetune", key).with_suffix(".lock"), label), _locked(_lock_file(folder), label):
        _delete_outdated(folder, days=settings.train.resume.keep_days, label=label)
        for unfinished in folder.glob(".step-*"):
            shutil.rmtree(unfinished)
        yield checkpoints
        checkpoints.delete("training is finished")


def _lock_file(folder: Path) -> Path:
    """Lock files are never deleted: another process may just have opened it."""
    return folder.with_name(f"{folder.name}.lock")


@contextlib.contextmanager
def _locked(path: Path, label: str) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    holder = path.with_suffix(".pid")
    try:
        with FileLock(path, timeout=LOCK_TIMEOUT):
            holder.write_text(str(os.getpid()))
            yield
            holder.unlink(missing_ok=True)
    except Timeout:
        pid = holder.read_text() if holder.exists() else "unknown"
        raise UserError(
            f"{label}: process {pid} is still training it ({path} is locked); stop that process or wait"
        ) from None


def _delete_outdated(current: Path, *, days: int, label: str) -> None:
    """Delete the checkpoints of other runs that are older than `days` and not in use."""
    for folder in sorted(current.parent.glob("*/")):
        age = (time.time() - max(p.stat().st_mtime for p in (folder, *folder.iterdir()))) / 86400
        if folder == current or age < days:
            continue
        with contextlib.suppress(Timeout), FileLock(_lock_file(folder), timeout=0):
            TrainingCheckpoints(folder, label=label).delete(f"an older run has been unused for {age:.0f} days")


def write_checkpoint(trainer: Any) -> None:
    """Write a complete checkpoint of a CaptionTrainer. The main process writes all but the others' random states."""
    unlogged_losses = trainer.accelerator.gather(trainer._tr_loss.reshape(1)).tolist()
    if not trainer.accelerator.is_main_process:
        (folder,) = broadcast_object_list([None])
        trainer._save_rng_state(str(folder))
        trainer.accelerator.wait_for_everyone()
    else:
        with trainer.checkpoints.write(trainer.state.global_step) as folder:
            broadcast_object_list([str(folder)])
            _write_shared_state(trainer, folder, unlogged_losses)
            trainer._save_rng_state(str(folder))
            trainer.accelerator.wait_for_everyone()
    trainer.accelerator.wait_for_everyone()


def _write_shared_state(trainer: Any, folder: Path, unlogged_losses: list[float]) -> None:
    """Weights, optimizer, schedule, the log so far, and the best weights."""
    # Cloned because buffers may share memory, which safetensors refuses.
    save_file({name: tensor.detach().clone() for name, tensor in trainer.changing.items()}, folder / WEIGHTS)
    if trainer.best.best_weights:
        save_file(trainer.best.best_weights, folder / BEST_WEIGHTS)
    trainer._save_optimizer_and_scheduler(str(folder))
    trainer._save_scaler(str(folder))
    trainer.state.save_to_json(str(folder / TRAINER_STATE_NAME))
    progress = {
        "rows": trainer.log_callback.rows,
        "sums": unlogged_losses,
        "since": trainer._globalstep_last_logged,
        "best": trainer.best.record,
        "batch_size": trainer.recipe.batch_size,
    }
    files.write_json(folder / PROGRESS, progress)


def read_progress(folder: Path) -> dict[str, Any]:
    """The log and counters of a checkpoint.

    rows: the log. sums: the losses since its last row, per process, and since: the step of that row. best: the record
    of BestWeightsCallback. batch_size: examples per micro-batch.
    """
    progress: dict[str, Any] = files.read_json(folder / PROGRESS)
    return progress


def read_weights(folder: Path) -> tuple[dict[str, Tensor], dict[str, Tensor] | None]:
    """The weights of a checkpoint, and the best weights so far where the run keeps them."""
    best = folder / BEST_WEIGHTS
    return load_file(folder / WEIGHTS), load_file(best) if best.exists() else None
