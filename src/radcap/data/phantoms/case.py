"""A case: the facts behind one phantom, sampled from the table in `atlas`."""

from dataclasses import dataclass

import numpy as np

from radcap.data.phantoms import lexicon
from radcap.data.phantoms.atlas import SHARES, STUDIES, Finding, Study
from radcap.data.phantoms.lexicon import Concept

SIZE_STEP_MM = 5


@dataclass(frozen=True)
class Case:
    """The facts of one phantom; `side` is the patient's, so that left is drawn on the picture's right."""

    modality: str
    anatomy: str
    finding: str | None = None
    side: str | None = None
    size_mm: int | None = None
    view: str | None = None
    technique: str | None = None


def sample_case(rng: np.random.Generator, *, modality: str | None = None) -> Case:
    """Draw a case; modalities come in the study's proportions unless one is asked for."""
    if modality is None:
        shares = np.array(list(SHARES.values()))
        modality = str(rng.choice(list(SHARES), p=shares / shares.sum()))
    elif modality not in SHARES:
        raise ValueError(f"modality: {modality!r} is not one of {', '.join(SHARES)}")
    studies = [study for study in STUDIES if study.modality == modality]
    study = studies[rng.integers(len(studies))]
    return _case(study, study.findings[rng.integers(len(study.findings))], rng=rng)


def find_study(case: Case) -> Study | None:
    """The kind of examination that a case belongs to; None for facts that no phantom shows."""
    return _studies().get((case.modality, case.anatomy))


def relative_size(case: Case) -> float:
    """Where the size lies in the finding's range, from 0 to 1; 0.5 without a size."""
    study = find_study(case)
    ranges = {finding.name: finding.sizes for finding in study.findings} if study else {}
    sizes = ranges.get(case.finding)
    if case.size_mm is None or sizes is None:
        return 0.5
    return (case.size_mm - sizes[0]) / (sizes[1] - sizes[0])


def concepts(case: Case) -> tuple[Concept, ...]:
    """The concepts of what is drawn: modality, anatomy, finding, side."""
    names = (case.modality, case.anatomy, case.finding, case.side)
    return tuple(lexicon.find(name) for name in names if name is not None)


def _case(study: Study, finding: Finding, *, rng: np.random.Generator) -> Case:
    side = finding.sides[rng.integers(len(finding.sides))] if finding.sides else None
    size = None
    if finding.sizes and side != "bilateral":
        low, high = finding.sizes
        size = int(rng.integers(low // SIZE_STEP_MM, high // SIZE_STEP_MM + 1)) * SIZE_STEP_MM
    technique = study.techniques[rng.integers(len(study.techniques))]
    return Case(study.modality, study.anatomy, finding.name, side, size, study.view, technique)


def _studies() -> dict[tuple[str, str], Study]:
    return {(study.modality, study.anatomy): study for study in STUDIES}
