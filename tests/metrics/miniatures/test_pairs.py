"""Caption pairs have the facts of their kind, checked by the dictionary tagger."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radcap.data.phantoms.atlas import SHARES, STUDIES
from radcap.data.phantoms.captions import find_concepts
from radcap.data.phantoms.case import Case, concepts
from radcap.metrics.miniatures.pairs import (
    KINDS,
    LABELS,
    LEVELS,
    TARGETS,
    count_wrong_facts,
    make_pair,
    make_pairs,
    with_technique_and_size,
    with_wrong_finding,
    with_wrong_modality,
    with_wrong_side,
)

SEEDS = st.integers(0, 2**32 - 1)
NODULE = Case("ct", "chest", "nodule", "left", 25, "axial", "contrast")

TRUTHS = {
    # kind: its targets, its label, how many facts are wrong
    "same": ({1.0}, "aligned", {0}),
    "paraphrase": ({0.9}, "aligned", {0}),
    "wrong side": ({0.48}, "contradicted", {1}),
    "wrong finding": ({0.48}, "contradicted", {1}),
    "wrong modality": ({0.48}, "contradicted", {1}),
    "other case": ({0.38, 0.32, 0.26}, "neutral", {2, 3, 4}),
    "noise": ({0.0}, "neutral", set()),
}


@pytest.mark.parametrize("kind", KINDS)
@given(seed=SEEDS)
@settings(max_examples=60, deadline=None)
def test_pairs_match_their_kind(kind: str, seed: int) -> None:
    pair = make_pair(np.random.default_rng(seed), kind)
    targets, label, wrong = TRUTHS[kind]
    assert pair.kind == kind
    assert pair.target in targets
    assert pair.label == label
    assert (pair.candidate == pair.reference) == (kind == "same")
    assert find_concepts(pair.reference) == {concept.cui for concept in concepts(pair.reference_case)}
    if pair.candidate_case is None:
        assert kind == "noise"
    else:
        assert find_concepts(pair.candidate) == {concept.cui for concept in concepts(pair.candidate_case)}
        assert count_wrong_facts(pair.reference_case, pair.candidate_case) in wrong


@given(SEEDS)
@settings(max_examples=150, deadline=None)
def test_one_wrong_fact_is_that_fact_and_one_that_exists(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for kind, changed in (("wrong side", "side"), ("wrong finding", "finding"), ("wrong modality", "modality")):
        pair = make_pair(rng, kind)
        shown = pair.candidate_case
        assert shown is not None and getattr(pair.reference_case, changed) != getattr(shown, changed)
        assert shown.modality in SHARES
        findings = [f for s in STUDIES for f in s.findings if s.anatomy == shown.anatomy and f.name == shown.finding]
        assert shown.side in {None, *(side for finding in findings for side in finding.sides)}
        if shown.size_mm is not None:
            assert any(f.sizes and f.sizes[0] <= shown.size_mm <= f.sizes[1] for f in findings)


@pytest.mark.parametrize(
    ("other", "wrong"),
    [
        (NODULE, 0),
        (replace(NODULE, size_mm=40, view=None, technique="plain"), 0),
        (replace(NODULE, side="right"), 1),
        (replace(NODULE, modality="pet"), 1),
        (replace(NODULE, finding=None, side=None), 1),
        (replace(NODULE, finding="cardiomegaly", side=None), 1),
        (replace(NODULE, finding="pneumothorax", side="right"), 2),
        (replace(NODULE, anatomy="kidney", finding="calculus"), 2),
        (Case("x-ray", "pelvis", "fracture", "right"), 4),
    ],
)
def test_wrong_facts_are_counted(other: Case, wrong: int) -> None:
    assert count_wrong_facts(NODULE, other) == count_wrong_facts(other, NODULE) == wrong


def test_every_other_fact_comes_up() -> None:
    rng = np.random.default_rng(0)
    sides = {with_wrong_side(NODULE, rng).side for _ in range(50)}
    assert sides == {"right"}
    assert {with_wrong_side(replace(NODULE, anatomy="thyroid"), rng).side for _ in range(50)} == {"right", "bilateral"}
    chest = {f.name for s in STUDIES if s.anatomy == "chest" for f in s.findings}
    assert {with_wrong_finding(NODULE, rng).finding for _ in range(200)} == chest - {"nodule"}
    assert {with_wrong_modality(NODULE, rng).modality for _ in range(200)} == SHARES.keys() - {"ct"}


def test_techniques_and_sizes_are_possible_ones() -> None:
    rng = np.random.default_rng(0)
    bare = replace(NODULE, technique=None, size_mm=None)
    found = [with_technique_and_size(bare, rng) for _ in range(100)]
    assert {case.technique for case in found} == {"contrast", "plain", None}
    assert {case.size_mm for case in found} == {20, 25, 30, 35, 40, 45}
    assert {replace(case, technique=None, size_mm=None) for case in found} == {bare}
    assert {with_technique_and_size(replace(bare, finding=None), rng).size_mm for _ in range(20)} == {None}
    assert {with_technique_and_size(replace(bare, side="bilateral"), rng).size_mm for _ in range(20)} == {None}


def test_a_finding_without_side_has_no_wrong_one() -> None:
    with pytest.raises(ValueError, match="ascites has no side"):
        with_wrong_side(Case("ct", "liver", "ascites"), np.random.default_rng(0))


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="kind: 'synonym' is not one of same, paraphrase, wrong side"):
        make_pair(np.random.default_rng(0), "synonym")


def test_kinds_come_in_turn_and_the_generator_decides_all() -> None:
    pairs = make_pairs(np.random.default_rng(3), 7 * 5)
    assert Counter(pair.kind for pair in pairs) == dict.fromkeys(KINDS, 5)
    assert pairs == make_pairs(np.random.default_rng(3), 7 * 5)
    assert pairs != make_pairs(np.random.default_rng(4), 7 * 5)


def test_targets_fall_with_the_levels() -> None:
    highest = [max(max(TRUTHS[kind][0]) for kind in KINDS if LEVELS[kind] == level) for level in range(5)]
    lowest = [min(min(TRUTHS[kind][0]) for kind in KINDS if LEVELS[kind] == level) for level in range(5)]
    assert all(low > high for low, high in zip(lowest, highest[1:], strict=False))
    assert list(TARGETS) == sorted(TARGETS, reverse=True)
    assert {label for _, label, _ in TRUTHS.values()} == set(LABELS)
