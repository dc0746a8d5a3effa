"""The four facts of a phantom as class numbers, and a caption's facts read back from its words."""

from __future__ import annotations

from radcap.data.phantoms import lexicon
from radcap.data.phantoms.atlas import STUDIES
from radcap.data.phantoms.captions import find_concepts
from radcap.data.phantoms.case import Case, find_study

FACTS: dict[str, list[str | None]] = {
    "modality": list(dict.fromkeys(study.modality for study in STUDIES)),
    "anatomy": list(dict.fromkeys(study.anatomy for study in STUDIES)),
    "finding": list(dict.fromkeys(finding.name for study in STUDIES for finding in study.findings)),
    "side": [None, "left", "right", "bilateral"],
}
# cross_entropy passes over it.
NO_FACT = -100


def numbers(case: Case | None) -> list[int]:
    """Where each fact stands in FACTS; of no case NO_FACT four times."""
    return [NO_FACT if case is None else values.index(getattr(case, name)) for name, values in FACTS.items()]


def read(caption: str) -> Case | None:
    """The case that a caption tells of, without size and technique; None where it does not tell of just one."""
    cuis = find_concepts(caption)
    found = {
        name: [value for value in values if value is not None and lexicon.find(value).cui in cuis]
        for name, values in FACTS.items()
    }
    modality, anatomy, finding, side = (next(iter(values), None) for values in found.values())
    if modality is None or anatomy is None or any(len(values) > 1 for values in found.values()):
        return None
    study = find_study(Case(modality, anatomy))
    return Case(modality, anatomy, finding, side, view=study.view if study else None)
