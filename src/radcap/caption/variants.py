"""What a model captions a split with: its prompts, its decoding options, and the fingerprint of both."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from radcap import files, layout
from radcap.caption.prompts import labels_from_concepts, predicted_labels, prompt
from radcap.caption.search import DecodingOptions
from radcap.modality.predictions import read_predictions
from radcap.models.base import RECORD
from radcap.pipeline import resolve
from radcap.runtime import records
from radcap.settings import Settings

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True)
class Variant:
    """Captions by one prompt. `is_tuned`: by the fine-tuned model, else by its base. `labelled`: prompts that say a
    modality, None where the variant never does."""

    name: str
    prompts: tuple[str, ...]
    is_tuned: bool = True
    labelled: int | None = None


def variants(params: Settings, key: str, rows: Dataset) -> list[Variant]:
    """The prompts of a model's block, and its base's where the profile says so."""
    all_variants = [variant(params, key, name, rows) for name in params.model(key).prompts]
    if params.active.generate.base:
        plain = next(entry for entry in all_variants if entry.name == "plain")
        all_variants.append(Variant("base", plain.prompts, is_tuned=False))
    return all_variants


def variant(params: Settings, key: str, name: str, rows: Dataset) -> Variant:
    """One prompt for every row of the test split. UserError where the modality classifier has not run."""
    if name == "plain":
        return labelled_variant(params, key, name, [None] * len(rows))
    modality = params.prompt.modality
    if modality.labels == "oracle":
        return labelled_variant(params, key, name, labels_from_concepts(rows["cuis"]))
    guesses = read_predictions(layout.predicted_modalities("test"))
    return labelled_variant(
        params, key, name, predicted_labels(list(rows["id"]), guesses, threshold=modality.threshold)
    )


def labelled_variant(params: Settings, key: str, name: str, labels: Sequence[str | None]) -> Variant:
    """A variant whose prompts say these labels."""
    model = params.model(key)
    said = model.modality_instruction if name == "modality" else "{instruction}"
    texts = tuple(prompt(model.template, said, params.prompt.instruction, label) for label in labels)
    labelled = None if name == "plain" else sum(label is not None for label in labels)
    return Variant(name, texts, labelled=labelled)


def decoding_options(params: Settings, key: str) -> DecodingOptions:
    """The section generate, with p99 looked up in what fine-tuning counted."""
    options = params.generate.model_dump()
    if options["max_new_tokens"] == "p99":
        options["max_new_tokens"] = files.read_json(layout.fine_tuned(key) / "audit.json")["caption_tokens_p99"]
    return DecodingOptions(**options)


def fingerprint(params: Settings, key: str, rows: Dataset, all_variants: Sequence[Variant]) -> str:
    """SHA-256 (first 16 digits) of all that decides the captions, to the last digit."""
    defining: dict[str, Any] = {
        "base": files.sha256(layout.base(key) / RECORD),
        "tuned": files.folder_hashes(layout.fine_tuned(key)),
        "rows": [list(rows["id"]), list(rows["sha256"])],
        "variants": [[entry.name, entry.prompts, entry.is_tuned] for entry in all_variants],
        "rules": vars(decoding_options(params, key)),
        "batch_size": params.active.generate.batch_size,
        "dtype": params.active.dtype,
        "threads": params.active.threads,
        "packages": records.versions(*records.PACKAGES),
        "code": resolve.resolved(params, "generate", key)["code"],
        "device": records.device(),
    }
    return hashlib.sha256(json.dumps(defining, sort_keys=True).encode()).hexdigest()[:16]
