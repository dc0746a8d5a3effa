"""The four facts of a phantom case as class numbers, and the facts that a caption states."""

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
# The label that cross_entropy ignores.
NO_FACT = -100


def fact_labels(case: Case | None) -> list[int]:
    """The index of each of the case's facts in FACTS; NO_FACT four times if there is no case."""
    return [NO_FACT if case is None else values.index(getattr(case, name)) for name, values in FACTS.items()]


def read_case(caption: str) -> Case | None:
    """The case that a caption describes, without size and technique; None if it does not describe exactly one."""
    cuis = find_concepts(caption)
    stated = {
        name: [value for value in values if value is not None and lexicon.find(value).cui in cuis]
        for name, values in FACTS.items()
    }
    modality, anatomy, finding, side = (next(iter(values), None) for values in stated.values())
    if modality is None or anatomy is None or any(len(values) > 1 for values in stated.values()):
        return None
    study = find_study(Case(modality, anatomy))
    return Case(modality, anatomy, finding, side, view=study.view if study else None)
