"""Caption pairs of known quality, made from the facts of sampled cases, for training the miniature scorers.

The caller's generator draws the cases. No pair is a row of a split, because `phantoms.write` draws those with its own
generators.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from radcap.data.phantoms.atlas import LR, LRB, SHARES, STUDIES, Finding
from radcap.data.phantoms.captions import caption, pick
from radcap.data.phantoms.case import SIZE_STEP_MM, Case, sample_case

# {kind of candidate: its level}, from the best (0) to the worst.
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
# In the order of MNLI's classes, which is also that of AlignScore's three-way head.
LABELS = ("aligned", "neutral", "contradicted")
# Noise is made from the words of so many captions.
NOISE_CAPTIONS = 8
# The target of a candidate in other words, by the number of wrong facts; four facts are compared.
TARGETS = (0.9, 0.48, 0.38, 0.32, 0.26)


class Pair(NamedTuple):
    """A reference and a candidate of a kind. `target`: the quality of the candidate, from 0 to 1.

    `label`, one of LABELS: "contradicted" if one fact is wrong, and "neutral" for another case or noise, of which the
    reference says nothing. `reference_case` and `candidate_case` are the facts of both texts; noise has none.
    """

    reference: str
    candidate: str
    kind: str
    target: float
    label: str
    reference_case: Case
    candidate_case: Case | None


def make_pairs(rng: np.random.Generator, count: int) -> list[Pair]:
    """Make `count` pairs, of all KINDS in turn."""
    return [make_pair(rng, KINDS[number % len(KINDS)]) for number in range(count)]


def make_pair(rng: np.random.Generator, kind: str) -> Pair:
    """Make a pair of the given kind. ValueError: there is no such kind."""
    if kind not in LEVELS:
        raise ValueError(f"kind: {kind!r} is not one of {', '.join(KINDS)}")
    case = sample_case(rng)
    # Some findings have no side.
    while kind == "wrong side" and case.side is None:
        case = sample_case(rng)
    reference = caption(case, rng)
    if kind == "same":
        return Pair(reference, reference, kind, 1.0, "aligned", case, case)
    if kind == "noise":
        return Pair(reference, shuffled_words(rng), kind, 0.0, "neutral", case, None)
    other = _other_case(case, kind, rng)
    text = caption(other, rng)
    # Draw again until the wording differs: short captions may come out alike.
    while text == reference:
        text = caption(other, rng)
    label = {"paraphrase": "aligned", "other case": "neutral"}.get(kind, "contradicted")
    return Pair(reference, text, kind, TARGETS[count_wrong_facts(case, other)], label, case, other)


def count_wrong_facts(case: Case, other: Case) -> int:
    """How many of modality, anatomy, finding and side differ. A side that only one case has counts with its finding."""
    names = ("modality", "anatomy", "finding")
    wrong = [name for name in names if getattr(case, name) != getattr(other, name)]
    return len(wrong) + (None not in (case.side, other.side) and case.side != other.side)


def with_wrong_side(case: Case, rng: np.random.Generator) -> Case:
    """The case with another side that is possible for its finding. ValueError: it has no side."""
    if case.side is None:
        raise ValueError(f"{case.finding} has no side")
    possible = [f.sides for s in STUDIES for f in s.findings if s.anatomy == case.anatomy and f.name == case.finding]
    sides = LRB if any("bilateral" in sides for sides in possible) else LR
    side = pick(rng, tuple(name for name in sides if name != case.side))
    return replace(case, side=side, size_mm=None if side == "bilateral" else case.size_mm)


def with_wrong_finding(case: Case, rng: np.random.Generator) -> Case:
    """The case with another finding of the same anatomy, or none; on the same side if the finding has sides."""
    findings = {f.name: f for s in STUDIES for f in s.findings if s.anatomy == case.anatomy and f.name != case.finding}
    finding = list(findings.values())[rng.integers(len(findings))]
    side = case.side if case.side in finding.sides else None
    if case.side is None and finding.sides:
        side = pick(rng, finding.sides)
    return replace(case, finding=finding.name, side=side, size_mm=_draw_size(finding, side, rng))


def with_wrong_modality(case: Case, rng: np.random.Generator) -> Case:
    """The case with another modality, and a technique of that modality."""
    modality = pick(rng, tuple(name for name in SHARES if name != case.modality))
    return replace(case, modality=modality, technique=sample_case(rng, modality=modality).technique)


def shuffled_words(rng: np.random.Generator) -> str:
    """Noise: shuffled words of several captions, as many as a caption has."""
    words = [caption(sample_case(rng), rng).split() for _ in range(NOISE_CAPTIONS)]
    mixed = [word for text in words for word in text]
    return " ".join(mixed[number] for number in rng.permutation(len(mixed))[: len(words[0])])


def with_technique_and_size(case: Case, rng: np.random.Generator) -> Case:
    """The case with a technique that its modality may have, and a size that its finding may have."""
    techniques = [technique for study in STUDIES if study.modality == case.modality for technique in study.techniques]
    sizes = [f for s in STUDIES for f in s.findings if s.anatomy == case.anatomy and f.name == case.finding and f.sizes]
    size = _draw_size(sizes[0], case.side, rng) if sizes else None
    return replace(case, technique=techniques[rng.integers(len(techniques))], size_mm=size)


CORRUPTIONS = {
    "wrong side": with_wrong_side,
    "wrong finding": with_wrong_finding,
    "wrong modality": with_wrong_modality,
}


def _other_case(case: Case, kind: str, rng: np.random.Generator) -> Case:
    if kind == "paraphrase":
        return case
    if kind in CORRUPTIONS:
        return CORRUPTIONS[kind](case, rng)
    other = sample_case(rng)
    while count_wrong_facts(case, other) < 2:
        other = sample_case(rng)
    return other


def _draw_size(finding: Finding, side: str | None, rng: np.random.Generator) -> int | None:
    if finding.sizes is None or side == "bilateral":
        return None
    low, high = (size // SIZE_STEP_MM for size in finding.sizes)
    return int(rng.integers(low, high + 1)) * SIZE_STEP_MM
