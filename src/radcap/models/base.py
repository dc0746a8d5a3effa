"""The base of a model: a miniature in a folder, or a record of published weights that stay where they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

from radcap import files
from radcap.errors import UserError
from radcap.models.family import Family, get_family
from radcap.models.hub import download

if TYPE_CHECKING:
    from transformers import PreTrainedModel

RECORD = "base.json"
# transformers would save with the tokenizer how it was loaded, HF_HUB_OFFLINE included, and cannot save the last one.
HOW_LOADED = ("is_local", "local_files_only", "image_processor")


@dataclass
class LoadedModel:
    """A model with its processor and family, ready to be fed."""

    family: Family
    model: PreTrainedModel
    processor: Any


def record_published(
    folder: Path, *, family_name: str, checkpoint: str, revision: str, image: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Write base.json for published weights: where they lie, the resolved revision, and each file's SHA-256.

    `checkpoint` is a local folder or file, or a hub id, whose snapshot is downloaded into the hub's cache.
    `image`: settings that take the place of the checkpoint's own whenever its processor is loaded.
    """
    path = Path(checkpoint).expanduser()
    snapshot = path if path.exists() else download(checkpoint, revision)
    if snapshot.is_dir() and not (snapshot / "config.json").exists():
        raise UserError(f"checkpoint {checkpoint!r}: {snapshot} holds no config.json")
    record = {
        "family": family_name,
        "weights": "published",
        "checkpoint": checkpoint,
        # A snapshot's folder in the hub's cache is named by its commit.
        "revision": None if path.exists() else snapshot.name,
        "image": dict(image or {}),
        "files": files.folder_hashes(snapshot) if snapshot.is_dir() else {snapshot.name: files.sha256(snapshot)},
    }
    folder.mkdir(parents=True, exist_ok=True)
    files.write_json(folder / RECORD, record)
    return record


def save_miniature(loaded: LoadedModel, folder: Path, *, family_name: str) -> None:
    """Save in the published layout (config.json, safetensors, processor and tokenizer files) with base.json."""
    loaded.model.save_pretrained(folder)
    loaded.family.save_processor(loaded.processor, str(folder))
    hashes = files.folder_hashes(folder)
    record = {"family": family_name, "weights": "miniature", "checkpoint": None, "revision": None, "files": hashes}
    files.write_json(folder / RECORD, record)


def load(folder: Path, *, dtype: str, **options: Any) -> LoadedModel:
    """Load what base.json describes. One function for miniatures, hub snapshots and local folders.

    `options` go to from_pretrained (quantization).
    """
    record = files.read_json(folder / RECORD)
    source = record["checkpoint"] or str(folder)
    image = record.get("image")
    return load_weights(
        get_family(record["family"]), source, revision=record["revision"], dtype=dtype, image=image, **options
    )


def load_weights(
    adapter: Family,
    source: str,
    *,
    revision: str | None,
    dtype: str,
    image: Mapping[str, Any] | None = None,
    **options: Any,
) -> LoadedModel:
    """Load a model in the published layout from a hub id or a local folder. UserError: missing or incomplete."""
    image = image or {}
    try:
        model = adapter.load_model(source, revision=revision, dtype=dtype, **options)
        processor = adapter.load_processor(source, revision=revision, image=image)
        tokenizer = adapter.tokenizer(processor)
        # Without its files transformers makes a tokenizer of nothing; a whole one knows every byte.
        if len(tokenizer) < 256:
            raise ValueError("its tokenizer's files are missing")
        for name in HOW_LOADED:
            tokenizer.init_kwargs.pop(name, None)
        # LLaVA-1.6 reads its tiles' grid from its configuration too.
        for name in image.keys() & vars(model.config).keys():
            setattr(model.config, name, image[name])
    except (OSError, ValueError, SafetensorError, UnpicklingError) as error:
        raise UserError(f"checkpoint {source!r} cannot be loaded: {' '.join(str(error).split())[:300]}") from error
    return LoadedModel(adapter, model, processor)
