"""Caption pairs of known truth, made from the facts of sampled cases: what the sample's scorers learn from.

The caller's generator draws the cases, so no pair is a row of a split: `phantoms.write` draws those with generators of
its own.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from radcap.data.phantoms.atlas import LR, LRB, SHARES, STUDIES, Finding
from radcap.data.phantoms.captions import caption, pick
from radcap.data.phantoms.case import SIZE_STEP_MM, Case, sample_case

# Every kind of candidate, and its level from the best (0) to the worst.
LEVELS = {
    "same": 0,
    "paraphrase": 1,
    "wrong side": 2,
    "wrong finding": 2,
    "wrong modality": 2,
    "other case": 3,
    "noise": 4,
}
KINDS = tuple(LEVELS)
# In the order of MNLI's classes, which AlignScore's three-way head has too.
LABELS = ("aligned", "neutral", "contradicted")
# A candidate in other words, by how many facts are wrong; four are compared.
NOISE_CAPTIONS = 8
TARGETS = (0.9, 0.48, 0.38, 0.32, 0.26)


class Pair(NamedTuple):
    """A candidate beside its reference; how good it is, from 0 to 1; and what it is to the reference (one of LABELS).

    `label` is "contradicted" where one fact is wrong; of another case or of no case at all the reference says nothing.
    `case` and `shown` are the facts of the reference and of the candidate; noise shows none.
    """

    reference: str
    candidate: str
    kind: str
    target: float
    label: str
    case: Case
    shown: Case | None


def make_pairs(rng: np.random.Generator, count: int) -> list[Pair]:
    """That many pairs, every kind of KINDS in turn."""
    return [make_pair(rng, KINDS[number % len(KINDS)]) for number in range(count)]


def make_pair(rng: np.random.Generator, kind: str) -> Pair:
    """A pair of that kind. ValueError: there is no such kind."""
    if kind not in LEVELS:
        raise ValueError(f"kind: {kind!r} is not one of {', '.join(KINDS)}")
    case = sample_case(rng)
    # Not every finding has a side.
    while kind == "wrong side" and case.side is None:
        case = sample_case(rng)
    reference = caption(case, rng)
    if kind == "same":
        return Pair(reference, reference, kind, 1.0, "aligned", case, case)
    if kind == "noise":
        return Pair(reference, noise(rng), kind, 0.0, "neutral", case, None)
    other = _other_case(case, kind, rng)
    text = caption(other, rng)
    # Other wording, which short captions may lack at the first draw.
    while text == reference:
        text = caption(other, rng)
    label = {"paraphrase": "aligned", "other case": "neutral"}.get(kind, "contradicted")
    return Pair(reference, text, kind, TARGETS[wrong_facts(case, other)], label, case, other)


def wrong_facts(case: Case, other: Case) -> int:
    """How many of modality, anatomy, finding and side differ; a side that only one names goes with its finding."""
    names = ("modality", "anatomy", "finding")
    wrong = [name for name in names if getattr(case, name) != getattr(other, name)]
    return len(wrong) + (None not in (case.side, other.side) and case.side != other.side)


def wrong_side(case: Case, rng: np.random.Generator) -> Case:
    """The case on another side that its finding may take. ValueError: it has no side."""
    if case.side is None:
        raise ValueError(f"{case.finding} has no side")
    known = [f.sides for s in STUDIES for f in s.findings if s.anatomy == case.anatomy and f.name == case.finding]
    sides = LRB if any("bilateral" in sides for sides in known) else LR
    side = pick(rng, tuple(name for name in sides if name != case.side))
    return replace(case, side=side, size_mm=None if side == "bilateral" else case.size_mm)


def wrong_finding(case: Case, rng: np.random.Generator) -> Case:
    """The case with another finding of the same anatomy (None is one too), on the same side where it has one."""
    known = {f.name: f for s in STUDIES for f in s.findings if s.anatomy == case.anatomy and f.name != case.finding}
    finding = list(known.values())[rng.integers(len(known))]
    side = case.side if case.side in finding.sides else None
    if case.side is None and finding.sides:
        side = pick(rng, finding.sides)
    return replace(case, finding=finding.name, side=side, size_mm=_size(finding, side, rng))


def wrong_modality(case: Case, rng: np.random.Generator) -> Case:
    """The case seen by another modality, in a technique of that modality."""
    modality = pick(rng, tuple(name for name in SHARES if name != case.modality))
    return replace(case, modality=modality, technique=sample_case(rng, modality=modality).technique)


def noise(rng: np.random.Generator) -> str:
    """As many words as a caption has, drawn from several captions' and shuffled."""
    words = [caption(sample_case(rng), rng).split() for _ in range(NOISE_CAPTIONS)]
    mixed = [word for text in words for word in text]
    return " ".join(mixed[number] for number in rng.permutation(len(mixed))[: len(words[0])])


def dressed(case: Case, rng: np.random.Generator) -> Case:
    """The case with a technique and a size as its examination and its finding may have them."""
    techniques = [technique for study in STUDIES if study.modality == case.modality for technique in study.techniques]
    sizes = [f for s in STUDIES for f in s.findings if s.anatomy == case.anatomy and f.name == case.finding and f.sizes]
    size = _size(sizes[0], case.side, rng) if sizes else None
    return replace(case, technique=techniques[rng.integers(len(techniques))], size_mm=size)


WRONG = {"wrong side": wrong_side, "wrong finding": wrong_finding, "wrong modality": wrong_modality}


def _other_case(case: Case, kind: str, rng: np.random.Generator) -> Case:
    if kind == "paraphrase":
        return case
    if kind in WRONG:
        return WRONG[kind](case, rng)
    other = sample_case(rng)
    while wrong_facts(case, other) < 2:
        other = sample_case(rng)
    return other


def _size(finding: Finding, side: str | None, rng: np.random.Generator) -> int | None:
    if finding.sizes is None or side == "bilateral":
        return None
    low, high = (size // SIZE_STEP_MM for size in finding.sizes)
    return int(rng.integers(low, high + 1)) * SIZE_STEP_MM
