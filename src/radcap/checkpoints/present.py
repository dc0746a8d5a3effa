"""Whether checkpoints lie where they are wanted, told from names, sizes and headers: nothing is loaded."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from radcap.checkpoints.sources import CLIP, MEDIMAGEINSIGHT
from radcap.models.hub import PATTERNS

ROBERTA_FILES = ("config.json", "vocab.json", "merges.txt")
BLEURT_FILES = ("config.json", "spm.model")
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
PUNKT_FILES = ("abbrev_types.txt", "collocations.tab", "sent_starters.txt", "ortho_context.tab")
PUNKT_FOLDERS = ("", "english", "punkt_tab/english", "tokenizers/punkt_tab/english")


@dataclass(frozen=True)
class Found:
    """`reason`: what is missing or damaged, empty for what is present. `size`: bytes on the disk."""

    state: Literal["present", "missing", "damaged"]
    reason: str = ""
    size: int = 0


def folder(path: Path, names: Sequence[str], weights: Sequence[str]) -> Found:
    """A folder that needs all of `names` and one of `weights`, or the shards that its index names."""
    if not path.is_dir():
        return Found("missing", f"{path} is not there")
    indices = [path / f"{name}.index.json" for name in weights if (path / f"{name}.index.json").is_file()]
    shards = _shards(indices[0]) if indices else [name for name in weights if (path / name).is_file()][:1]
    if shards is None:
        return Found("damaged", f"{indices[0]} is no index of weights")
    lacking = [name for name in (*names, *shards) if not (path / name).is_file()]
    if not shards:
        lacking.append(" or ".join(weights))
    if lacking:
        return Found("missing", f"{path} lacks {', '.join(lacking)}")
    return whole([path / name for name in (*names, *shards)])


def medimageinsight(path: Path) -> Found:
    """The published tree, or a flat folder (radcap.metrics.medimageinsight.weights.find)."""
    if (path / "config.json").exists() or (path / "weights.safetensors").exists():
        return folder(path, ROBERTA_FILES, ["weights.safetensors"])
    tree = path / MEDIMAGEINSIGHT if (path / MEDIMAGEINSIGHT).is_dir() else path
    tokenizer = CLIP.removeprefix(f"{MEDIMAGEINSIGHT}/")
    names = [f"{tokenizer}/vocab.json", f"{tokenizer}/merges.txt"]
    return folder(tree, names, ["vision_model/medimageinsigt-v1.0.0.pt"])


def alignscore(path: Path) -> Found:
    """The published file with RoBERTa's files beside it, or a folder that it was converted to."""
    if path.is_dir():
        return folder(path, ROBERTA_FILES, ["weights.safetensors"])
    if not path.is_file():
        return Found("missing", f"{path} is not there")
    return folder(path.parent, ROBERTA_FILES, [path.name])


def bleurt(path: Path) -> Found:
    return folder(path, BLEURT_FILES, WEIGHTS)


def model(path: Path) -> Found:
    """A model or DeBERTa as transformers stores them."""
    return folder(path, ["config.json"], WEIGHTS)


def punkt(path: Path) -> Found:
    inside = [path / name for name in PUNKT_FOLDERS if (path / name / PUNKT_FILES[0]).is_file()]
    return folder(inside[0] if inside else path, PUNKT_FILES[1:], PUNKT_FILES[:1])


def pack(path: Path) -> Found:
    """A MedCAT pack: a zip or its folder."""
    if not path.exists():
        return Found("missing", f"{path} is not there")
    if path.is_dir():
        return Found("present", size=sum(inner.stat().st_size for inner in path.rglob("*") if inner.is_file()))
    if not zipfile.is_zipfile(path):
        return Found("damaged", f"{path} is no whole zip")
    return Found("present", size=path.stat().st_size)


def file(path: Path) -> Found:
    """A single file of weights."""
    return whole([path]) if path.is_file() else Found("missing", f"{path} is not there")


def cached(repo: str, revision: str) -> Path | None:
    """A repository's snapshot in the hub's cache, without a look at the network; None where it is not whole."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(repo, revision=revision, allow_patterns=list(PATTERNS), local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError):
        return None


def named(name: str, revision: str, look: Callable[[Path], Found]) -> tuple[Found, Path | None]:
    """What a local folder or a hub id in the hub's cache holds, and where that is."""
    local = Path(name).expanduser()
    place = local if local.exists() else cached(name, revision)
    if place is None:
        return Found("missing", f"{name} at {revision[:12]} is not in the hub's cache"), None
    return look(place), place


def whole(paths: Sequence[Path]) -> Found:
    """Present, or damaged with what is wrong with the first file that is not whole."""
    for path in paths:
        if told := _fault(path):
            return Found("damaged", f"{path}: {told}")
    return Found("present", size=sum(path.stat().st_size for path in paths))


def _fault(path: Path) -> str:
    with path.open("rb") as stream:
        start = stream.read(9)
    if not start:
        return "is empty"
    if path.suffix == ".json":
        return "" if _json(path) is not None else "is no JSON"
    # Weights go by what they begin with: names of published files do not tell.
    if start[:2] == b"PK":
        return "" if zipfile.is_zipfile(path) else "is cut short"
    if path.suffix == ".safetensors" or start[8:] == b"{":
        return _tensors_fault(path)
    return ""


def _tensors_fault(path: Path) -> str:
    """A safetensors file is as long as its header says."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if length > size:
            return "is no safetensors file, or cut short"
        try:
            header = json.loads(stream.read(length))
            end = max(entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__")
        except (ValueError, KeyError, TypeError, AttributeError):
            return "has no safetensors header"
    return "" if 8 + length + end == size else f"holds {size} bytes instead of {8 + length + end}"


def _shards(index: Path) -> list[str] | None:
    found = _json(index)
    names = found.get("weight_map") if isinstance(found, dict) else None
    return sorted(set(names.values())) if isinstance(names, dict) else None


def _json(path: Path) -> object | None:
    try:
        value: object = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return None
    return value
