"""Exports fine-tuned models for use elsewhere: the adapter alone, or the model with the adapter merged in."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from radcap import files
from radcap.adapt.storage import load_fine_tuned
from radcap.errors import UserError
from radcap.models.base import RECORD
from radcap.models.hub import download

# Files that are not copied from the base model: those that save_pretrained writes, radcap's own, and code.
NOT_COPIED = re.compile(r"(generation_)?config\.json|.*\.(safetensors|bin|pt|pth|py|csv)|.*\.index\.json|base\.json")


def export(tuned: Path, base: Path, out: Path, *, merged: bool, dtype: str) -> None:
    """Copy the files of the `tuned` folder to `out`, or with `merged` write a model in the published layout.

    `dtype`: of the merged weights. A model that was trained in full has nothing to merge, so its files are copied.
    UserError: the model is not fine-tuned yet, or `out` already exists.
    """
    if not tuned.is_dir():
        raise UserError(f"{tuned} not found; `dvc repro finetune@{tuned.name}` makes it")
    if out.exists():
        raise UserError(f"{out} exists already; name another folder with --out")
    out.parent.mkdir(parents=True, exist_ok=True)
    if not merged or not (tuned / "adapter_config.json").exists():
        shutil.copytree(tuned, out)
        return
    loaded = load_fine_tuned(tuned, base, dtype=dtype)
    with files.atomic_folder(out) as unfinished:
        loaded.model.save_pretrained(unfinished)
        # Fine-tuning does not change tokenizer and image processor, except for our image settings.
        for path in _base_files(base).iterdir():
            if path.is_file() and not NOT_COPIED.fullmatch(path.name):
                shutil.copy(path, unfinished)
        if files.read_json(base / RECORD).get("image"):
            loaded.family.save_processor(loaded.processor, str(unfinished))


def _base_files(base: Path) -> Path:
    """The folder with the files of the base model."""
    record = files.read_json(base / RECORD)
    checkpoint = record["checkpoint"]
    if checkpoint is None:
        return base
    path = Path(checkpoint).expanduser()
    return path if path.is_dir() else download(checkpoint, record["revision"])
