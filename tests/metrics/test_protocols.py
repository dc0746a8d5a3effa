"""The metrics against their reference implementations' outputs, and the protocols against their definitions."""

import json
from pathlib import Path

import pytest

from radcap.metrics.preprocessing import preprocess
from radcap.metrics.protocols import PROTOCOLS, aggregates, apply_protocol
from radcap.metrics.rouge1 import Rouge1Scorer
from radcap.metrics.umls_f1 import f1

GOLDEN = Path(__file__).parent / "golden"


def golden(name: str):
    return json.loads((GOLDEN / name).read_text(encoding="utf-8"))


def test_preprocessing_is_the_official_one() -> None:
    rows = golden("rouge.json")["preprocessing"]
    assert {row["input"]: preprocess(row["input"]) for row in rows} == {row["input"]: row["expected"] for row in rows}


def test_rouge1_equals_the_reference() -> None:
    cases = golden("rouge.json")["cases"]
    scores = Rouge1Scorer().score([case["candidate"] for case in cases], [case["reference"] for case in cases])
    assert scores == [case["preprocessed"]["F"] for case in cases]


def test_f1_equals_exact_fractions() -> None:
    cases = golden("umls_f1.json")["cases"]
    scores = [f1(case["candidate_cuis"], case["reference_cuis"]) for case in cases]
    assert scores == [case["f1"] for case in cases]


def test_f1_after_the_semantic_filter(root: Path) -> None:
    data = golden("umls_f1.json")
    allowed = set(json.loads((root / "reference/semantic_types.json").read_text())["medcon_tuis"])
    kept = {cui for cui, types in data["cui_types"].items() if allowed & set(types)}
    scores = [f1(kept & set(c["candidate_cuis"]), kept & set(c["reference_cuis"])) for c in data["cases"]]
    assert scores == [case["f1_filter_medcon66"] for case in data["cases"]]


KEYS = {
    "as-described": "as-described",
    "imageclef-2025": "imageclef-2025-code",
    "imageclef-2026": "imageclef-2026-code",
}


@pytest.mark.parametrize("name", PROTOCOLS)
def test_aggregates_are_each_protocols_own(name: str) -> None:
    part = "bertscore_recall" if name == "as-described" else "bertscore_f1"
    for case in golden("aggregation.json")["from_means"]:
        means = {key: case["means"][key] for key in ("similarity", "bleurt", "umls_f1", "alignscore")}
        means |= {"bertscore": case["means"][part], "rouge1": case["means"]["rouge1_f"]}
        found = aggregates(means, PROTOCOLS[name])
        assert found == pytest.approx(case["expected"][KEYS[name]], abs=1e-12)


@pytest.mark.parametrize("missing", ["similarity", "bertscore", "rouge1", "bleurt", "umls_f1", "alignscore"])
def test_a_missing_metric_leaves_no_aggregate_of_it(missing: str) -> None:
    means = dict.fromkeys(("similarity", "bertscore", "rouge1", "bleurt", "umls_f1", "alignscore"), 0.5)
    found = aggregates({**means, missing: None}, PROTOCOLS["as-described"])
    part = "factuality" if missing in ("umls_f1", "alignscore") else "relevance"
    assert found[part] is None
    assert found["overall"] is None
    assert sum(value is not None for value in found.values()) == 1


EMPTY = {
    "as-described": [1.0, 0.4, 0.5, 0.0],
    "imageclef-2025": [1.0, 1.0, 1.25, 0.0],
    "imageclef-2026": [1.0, 0.0, 1.25, 0.0],
}


@pytest.mark.parametrize("name", PROTOCOLS)
def test_similarity_is_scaled_and_ruled_by_the_protocol(name: str) -> None:
    """Both captions empty; the candidate alone; none; no image."""
    found = apply_protocol(
        PROTOCOLS[name], {"similarity": [0.3, 0.4, 0.5, None]}, ["", " ", "a", "b"], ["", "b", "", "c"]
    )
    assert found["similarity"] == pytest.approx(EMPTY[name])
    assert apply_protocol(PROTOCOLS[name], {"similarity": [-0.4]}, ["a"], ["b"])["similarity"] == [
        -0.4 if name == "as-described" else 0.0
    ]


MEASURES = ("bertscore_recall", "bertscore_f1", "rouge1", "bleurt", "umls_f1_medcon66", "umls_f1_official127")


@pytest.mark.parametrize("name", PROTOCOLS)
def test_each_protocol_uses_its_own_scores_and_empty_pairs_have_a_fixed_one_except_in_bleurt(name: str) -> None:
    measures = {measure: [0.1 * number, 0.5] for number, measure in enumerate(MEASURES)}
    found = apply_protocol(PROTOCOLS[name], measures, ["a", ""], ["b", " \n"])
    described = name == "as-described"
    assert found == {
        "bertscore": [0.1 * (not described), 1.0],
        "rouge1": [0.2, 1.0],
        "bleurt": [pytest.approx(0.3), 0.5],
        "umls_f1": [pytest.approx(0.4 if described else 0.5), 1.0],
    }
