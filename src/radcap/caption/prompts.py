"""Prompts: a model's template with the instruction in its place, plain or with the image's modality."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from radcap.data import concepts
from radcap.models.inputs import fill_template
from radcap.settings import Model

# How a class of the modality classifier is said in a prompt. The class "other" says nothing, and is left out.
WORDS = {
    "ct": "CT",
    "x-ray": "X-ray",
    "mri": "MRI",
    "ultrasound": "Ultrasound",
    "angiography": "Angiography",
    "pet": "PET",
    "oct": "Optical coherence tomography",
}


def prompt(template: str, said: str, instruction: str, label: str | None) -> str:
    """A template with the instruction as it is `said` ("{modality} image. {instruction}") of an image of this modality.

    Where there is no label to say, the instruction alone.
    """
    if "{modality}" in said and label not in WORDS:
        return fill_template(template, instruction)
    return fill_template(template, fill_template(said.replace("{modality}", WORDS.get(label or "", "")), instruction))


def labels_from_concepts(cuis: Iterable[Sequence[str]]) -> list[str | None]:
    """Each row's modality by its own concepts; None where they name none or several."""
    modalities = [concepts.modality(row) for row in cuis]
    return [label if label in WORDS else None for label in modalities]


def predicted_labels(
    ids: Sequence[str], predictions: Mapping[str, tuple[str | None, float | None]], *, threshold: float
) -> list[str | None]:
    """Each row's predicted modality; None where its probability is below the threshold, or nothing was predicted."""
    modalities = [predictions[id_] for id_ in ids]
    sure = [label if label is not None and p is not None and p >= threshold else None for label, p in modalities]
    return [label if label in WORDS else None for label in sure]


def training_prompts(model: Model, instruction: str, cuis: Sequence[Sequence[str]]) -> list[str]:
    """Every training row's prompt; a modality in it is the row's own."""
    return [
        prompt(model.template, model.training_instruction, instruction, label) for label in labels_from_concepts(cuis)
    ]
