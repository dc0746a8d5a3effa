"""The metrics against their reference implementations' outputs, and the protocols against their definitions."""

import json
from math import log
from pathlib import Path

import pytest

from radcap.metrics import rouge1
from radcap.metrics.bertscore import BertScorer, idf
from radcap.metrics.protocols import PROTOCOLS, aggregates
from radcap.metrics.text import preprocess
from radcap.metrics.umls_f1 import f1

GOLDEN = Path(__file__).parent / "golden"


def golden(name: str):
    return json.loads((GOLDEN / name).read_text(encoding="utf-8"))


def test_preprocessing_is_the_official_one() -> None:
    rows = golden("rouge.json")["preprocessing"]
    assert {row["input"]: preprocess(row["input"]) for row in rows} == {row["input"]: row["expected"] for row in rows}


def test_rouge1_equals_the_reference() -> None:
    cases = golden("rouge.json")["cases"]
    scores = rouge1.score([case["candidate"] for case in cases], [case["reference"] for case in cases])
    assert scores == pytest.approx([case["preprocessed"]["F"] for case in cases], abs=1e-12)


def test_f1_equals_exact_fractions() -> None:
    cases = golden("umls_f1.json")["cases"]
    scores = [f1(case["candidate_cuis"], case["reference_cuis"]) for case in cases]
    assert scores == pytest.approx([case["f1"] for case in cases], abs=1e-12)


def test_f1_after_the_semantic_filter(root: Path) -> None:
    data = golden("umls_f1.json")
    allowed = set(json.loads((root / "reference/semantic_types.json").read_text())["medcon_tuis"])
    kept = {cui for cui, types in data["cui_types"].items() if allowed & set(types)}
    scores = [f1(kept & set(c["candidate_cuis"]), kept & set(c["reference_cuis"])) for c in data["cases"]]
    assert scores == pytest.approx([case["f1_filter_medcon66"] for case in data["cases"]], abs=1e-12)


NAMES = {"precision": "P", "recall": "R", "f1": "F"}


@pytest.mark.parametrize("part", NAMES)
@pytest.mark.parametrize("group", ["idf-preprocessed", "zero-idf-single-document", "zero-idf-token-in-every-document"])
def test_bertscore_equals_the_reference(tmp_path: Path, part: str, group: str) -> None:
    """Run from a path with "t5" in it, by which the package would choose a T5."""
    folder = tmp_path / "t5"
    folder.symlink_to(GOLDEN / "bertscore")
    data = golden("bertscore/cases.json")
    case = next(entry for entry in data["groups"] if entry["id"] == group)
    corpus = case["idf_sentences"] if isinstance(case["idf_sentences"], list) else data["idf_sentences_raw"]
    scores = BertScorer(folder, layer=data["num_layers"]).score(
        [row["candidate"] for row in case["cases"]],
        [row["reference"] for row in case["cases"]],
        part=part,
        corpus=corpus,
    )
    expected = [0.0 if row[NAMES[part]] == "nan" else row[NAMES[part]] for row in case["cases"]]
    assert scores == pytest.approx(expected, abs=1e-6)


def test_bertscore_of_nothing_is_zero() -> None:
    scorer = BertScorer(GOLDEN / "bertscore", layer=3)
    assert scorer.score(["", "a nodule", " ", "..."], ["a nodule", "", "", "a nodule"], part="f1") == [0.0] * 4


def test_an_empty_reference_counts_as_a_document_of_the_idf() -> None:
    """[CLS] and [SEP] alone: on which the package's own idf crashes."""
    scorer = BertScorer(GOLDEN / "bertscore", layer=3)
    texts = ["a nodule", "the nodule", ""]
    found = idf(texts, scorer.tokenizer)
    cls, sep = scorer.tokenizer.cls_token_id, scorer.tokenizer.sep_token_id
    assert (found[cls], found[sep]) == (0.0, 0.0)
    assert found[-1] == pytest.approx(log(4))
    assert sorted(set(found.values()))[1:] == pytest.approx([log(4 / 3), log(2), log(4)])
    same, other = scorer.score(["a nodule", "x"], texts[:2], part="f1", corpus=texts)
    assert same == pytest.approx(1.0)
    assert other < same


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
