"""Checks whether checkpoints are complete, from file names, sizes and headers. Nothing is loaded."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from radcap.assets.sources import CLIP, MEDIMAGEINSIGHT
from radcap.metrics.paths import PUNKT_FILES, find_punkt
from radcap.models.hub import PATTERNS

ROBERTA_FILES = ("config.json", "vocab.json", "merges.txt")
BLEURT_FILES = ("config.json", "spm.model")
WEIGHTS = ("model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True)
class Status:
    """The state of an asset. `reason`: what is missing or damaged, empty if it is present. `size`: bytes on disk."""

    state: Literal["present", "missing", "damaged"]
    reason: str = ""
    size: int = 0


def folder(path: Path, names: Sequence[str], weights: Sequence[str]) -> Status:
    """A folder that needs all files of `names` and one of `weights`, or the shards that its index lists."""
    if not path.is_dir():
        return Status("missing", f"{path} is not there")
    indices = [path / f"{name}.index.json" for name in weights if (path / f"{name}.index.json").is_file()]
    shards = _shards(indices[0]) if indices else [name for name in weights if (path / name).is_file()][:1]
    if shards is None:
        return Status("damaged", f"{indices[0]} is not an index of weights")
    missing = [name for name in (*names, *shards) if not (path / name).is_file()]
    if not shards:
        missing.append(" or ".join(weights))
    if missing:
        return Status("missing", f"{path} lacks {', '.join(missing)}")
    return intact([path / name for name in (*names, *shards)])


def medimageinsight(path: Path) -> Status:
    """The published tree, or a flat folder (radcap.metrics.medimageinsight.weights.find_checkpoint)."""
    if (path / "config.json").exists() or (path / "weights.safetensors").exists():
        return folder(path, ROBERTA_FILES, ["weights.safetensors"])
    tree = path / MEDIMAGEINSIGHT if (path / MEDIMAGEINSIGHT).is_dir() else path
    tokenizer = CLIP.removeprefix(f"{MEDIMAGEINSIGHT}/")
    names = [f"{tokenizer}/vocab.json", f"{tokenizer}/merges.txt"]
    return folder(tree, names, ["vision_model/medimageinsigt-v1.0.0.pt"])


def alignscore(path: Path) -> Status:
    """The published file with RoBERTa's files beside it, or the folder of a converted checkpoint."""
    if path.is_dir():
        return folder(path, ROBERTA_FILES, ["weights.safetensors"])
    if not path.is_file():
        return Status("missing", f"{path} is not there")
    return folder(path.parent, ROBERTA_FILES, [path.name])


def bleurt(path: Path) -> Status:
    return folder(path, BLEURT_FILES, WEIGHTS)


def model(path: Path) -> Status:
    """A model, or a DeBERTa, in the layout of transformers."""
    return folder(path, ["config.json"], WEIGHTS)


def punkt(path: Path) -> Status:
    return folder(find_punkt(path), PUNKT_FILES[1:], PUNKT_FILES[:1])


def pack(path: Path) -> Status:
    """A MedCAT pack, as a zip or as its folder."""
    if not path.exists():
        return Status("missing", f"{path} is not there")
    if path.is_dir():
        return Status("present", size=sum(inner.stat().st_size for inner in path.rglob("*") if inner.is_file()))
    if not zipfile.is_zipfile(path):
        return Status("damaged", f"{path} is not a complete zip")
    return Status("present", size=path.stat().st_size)


def file(path: Path) -> Status:
    """A single file of weights."""
    return intact([path]) if path.is_file() else Status("missing", f"{path} is not there")


def cached_snapshot(repo: str, revision: str) -> Path | None:
    """The snapshot of a repository in the hub's cache, without network access; None if it is not complete."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(repo, revision=revision, allow_patterns=list(PATTERNS), local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError):
        return None


def local_or_cached(name: str, revision: str, inspect: Callable[[Path], Status]) -> tuple[Status, Path | None]:
    """The status and the path of a local folder, or of a hub id's snapshot in the hub's cache."""
    local = Path(name).expanduser()
    path = local if local.exists() else cached_snapshot(name, revision)
    if path is None:
        return Status("missing", f"{name} at {revision[:12]} is not in the hub's cache"), None
    return inspect(path), path


def intact(paths: Sequence[Path]) -> Status:
    """Present, or damaged with the fault of the first damaged file."""
    for path in paths:
        if fault := _fault(path):
            return Status("damaged", f"{path}: {fault}")
    return Status("present", size=sum(path.stat().st_size for path in paths))


def _fault(path: Path) -> str:
    with path.open("rb") as stream:
        start = stream.read(9)
    if not start:
        return "is empty"
    if path.suffix == ".json":
        return "" if _read_json(path) is not None else "is not JSON"
    # The names of published files do not say which format weights have, so their first bytes decide.
    if start[:2] == b"PK":
        return "" if zipfile.is_zipfile(path) else "is truncated"
    if path.suffix == ".safetensors" or start[8:] == b"{":
        return _tensors_fault(path)
    return ""


def _tensors_fault(path: Path) -> str:
    """Compares the size of a safetensors file with its header."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if length > size:
            return "is not a safetensors file, or truncated"
        try:
            header = json.loads(stream.read(length))
            end = max(entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__")
        except (ValueError, KeyError, TypeError, AttributeError):
            return "has no safetensors header"
    return "" if 8 + length + end == size else f"holds {size} bytes instead of {8 + length + end}"


def _shards(index: Path) -> list[str] | None:
    content = _read_json(index)
    names = content.get("weight_map") if isinstance(content, dict) else None
    return sorted(set(names.values())) if isinstance(names, dict) else None


def _read_json(path: Path) -> object | None:
    try:
        value: object = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return None
    return value
