"""Fine-tuned models for use elsewhere: the adapter alone, or weights that have it merged in."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from radcap import files
from radcap.adapt.storage import load_fine_tuned
from radcap.errors import UserError
from radcap.models.base import RECORD
from radcap.models.hub import download

# What a merged model writes itself, what is radcap's own, and code, which is never taken along.
OWN = re.compile(r"(generation_)?config\.json|.*\.(safetensors|bin|pt|pth|py|csv)|.*\.index\.json|base\.json")


def export(tuned: Path, base: Path, out: Path, *, merged: bool, dtype: str) -> None:
    """Write `out`: the tuned folder's files, or with `merged` a model in the published layout (weights in `dtype`).

    Weights that trained in full are whole already. UserError: nothing is fine-tuned yet, or `out` is there already.
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
    with files.atomic_folder(out) as beside:
        loaded.model.save_pretrained(beside)
        # Fine-tuning leaves tokenizer and image processor as they are, but for image settings of ours.
        for path in _published(base).iterdir():
            if path.is_file() and not OWN.fullmatch(path.name):
                shutil.copy(path, beside)
        if files.read_json(base / RECORD).get("image"):
            loaded.family.save_processor(loaded.processor, str(beside))


def _published(base: Path) -> Path:
    """The folder that a base's files lie in."""
    record = files.read_json(base / RECORD)
    checkpoint = record["checkpoint"]
    if checkpoint is None:
        return base
    path = Path(checkpoint).expanduser()
    return path if path.is_dir() else download(checkpoint, record["revision"])
