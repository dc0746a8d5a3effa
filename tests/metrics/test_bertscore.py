"""BERTScore: the reference implementation's scores, the package's matching and its faults, and the cache."""

import json
from collections import defaultdict
from math import log
from pathlib import Path

import pytest
import torch

from radcap.metrics import reference_cache
from radcap.metrics.bertscore import PARTS, BertScorer, TokenVectors, encode, idf, match

GOLDEN = Path(__file__).parent / "golden" / "bertscore"
CASES = json.loads((GOLDEN / "cases.json").read_text(encoding="utf-8"))
NAMES = {"precision": "P", "recall": "R", "f1": "F"}
TEXTS = ["a nodule", "ct of the chest with a nodule in the left lung", "mri", "x ray of the spine", "a nodule"]


@pytest.fixture
def scorer() -> BertScorer:
    return BertScorer(GOLDEN, layer=3)


@pytest.mark.parametrize("group", ["idf-preprocessed", "zero-idf-single-document", "zero-idf-token-in-every-document"])
def test_scores_match_the_reference(tmp_path: Path, group: str) -> None:
    """The path contains "t5", for which the package would choose a T5."""
    folder = tmp_path / "t5"
    folder.symlink_to(GOLDEN)
    case = next(entry for entry in CASES["groups"] if entry["id"] == group)
    corpus = case["idf_sentences"] if isinstance(case["idf_sentences"], list) else CASES["idf_sentences_raw"]
    candidates, references = ([row[side] for row in case["cases"]] for side in ("candidate", "reference"))
    found = BertScorer(folder, layer=CASES["num_layers"]).score(candidates, references, corpus=corpus)
    for part in PARTS:
        expected = [0.0 if row[NAMES[part]] == "nan" else row[NAMES[part]] for row in case["cases"]]
        assert found[part] == pytest.approx(expected, abs=1e-6)


def test_matching_is_the_packages_where_it_pads_nothing(scorer: BertScorer) -> None:
    from bert_score.utils import bert_cos_score_idf

    weights = defaultdict(lambda: 1.0, idf(list(encode(TEXTS, scorer.tokenizer).values())))
    for cand in TEXTS:
        for ref in TEXTS:
            theirs = bert_cos_score_idf(scorer.model, [ref], [cand], scorer.tokenizer, weights, device="cpu")[0]
            ours = scorer.score([cand], [ref], corpus=TEXTS[:4])
            assert [ours[part][0] for part in PARTS] == pytest.approx(theirs.tolist(), abs=1e-6)


def test_a_token_unlike_all_others_counts_the_same_beside_a_longer_pair() -> None:
    """Where the package pads, it scores 0 instead."""
    one, two = torch.tensor([[1.0, 0.0]]), torch.tensor([[-1.0, 0.1]])
    long = torch.ones(3, 2)
    alone = match([one], [torch.ones(1)], [two], [torch.ones(1)])
    beside = match([one, long], [torch.ones(1), torch.ones(3)], [two, long], [torch.ones(1), torch.ones(3)])
    assert alone[0][0] == pytest.approx(-0.995, abs=1e-3)
    assert beside[0] == pytest.approx(alone[0], abs=1e-6)


def test_empty_captions_score_zero(scorer: BertScorer) -> None:
    found = scorer.score(["", "a nodule", " ", "..."], ["a nodule", "", "", "a nodule"])
    assert found == {part: [0.0] * 4 for part in PARTS}


def test_an_empty_reference_counts_as_a_document_of_the_idf(scorer: BertScorer) -> None:
    """It is [CLS] and [SEP] alone, on which the package's own idf crashes."""
    texts = ["a nodule", "the nodule", ""]
    found = idf(list(encode(texts, scorer.tokenizer).values()))
    cls, sep = scorer.tokenizer.cls_token_id, scorer.tokenizer.sep_token_id
    assert (found[cls], found[sep]) == (0.0, 0.0)
    assert found[-1] == pytest.approx(log(4))
    assert sorted(set(found.values()))[1:] == pytest.approx([log(4 / 3), log(2), log(4)])
    same, other = scorer.score(["a nodule", "x"], texts[:2], corpus=texts)["f1"]
    assert same == pytest.approx(1.0)
    assert other < same


def test_batch_order_and_repetition_do_not_matter(scorer: BertScorer) -> None:
    candidates, references = TEXTS, TEXTS[::-1]
    expected = scorer.score(candidates, references)["f1"]
    backwards = BertScorer(GOLDEN, layer=3, batch_tokens=1).score(candidates[::-1], references[::-1])["f1"]
    assert backwards[::-1] == pytest.approx(expected, abs=1e-6)
    twice = scorer.score(candidates * 2, references * 2, corpus=references)["f1"]
    assert twice == pytest.approx(expected * 2, abs=1e-6)


def test_references_are_embedded_once_for_all_candidates_and_processes(tmp_path: Path, monkeypatch) -> None:
    embedded: list[str] = []
    embed = BertScorer._embed
    monkeypatch.setattr(
        BertScorer, "_embed", lambda self, texts, ids: (embedded.extend(texts), embed(self, texts, ids))[1]
    )
    first = BertScorer(GOLDEN, layer=3, cache=tmp_path)
    expected = first.score(["ct", "mri"], TEXTS[:2])
    assert sorted(embedded) == sorted(["ct", "mri", *TEXTS[:2]])
    embedded.clear()
    first.score(["ct scan", "mri"], TEXTS[:2])
    assert BertScorer(GOLDEN, layer=3, cache=tmp_path).score(["ct", "mri"], TEXTS[:2]) == expected
    assert embedded == ["ct scan", "mri", "ct", "mri"]


def test_sets_of_references_are_cached_by_content_and_old_ones_deleted(tmp_path: Path, capsys) -> None:
    made: list[list[str]] = []
    cache = reference_cache.ReferenceCache(tmp_path)
    for texts in (["b", "a"], ["a", "b", "a"], ["a"]):
        assert cache.get(texts, lambda texts, folder: made.append(texts)).is_dir()
    assert made == [["a", "b"], ["a"]]
    for number in range(reference_cache.MAX_OLDER_SETS + 1):
        cache.get([str(number)], lambda texts, folder: None)
    assert len([path for path in tmp_path.iterdir() if path.is_dir()]) == reference_cache.MAX_OLDER_SETS + 1
    assert "deleted the cached values of an older set" in capsys.readouterr().err


def test_a_failed_set_is_not_cached(tmp_path: Path) -> None:
    def fail(texts: list[str], folder: Path) -> None:
        (folder / "half").write_text("x")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reference_cache.ReferenceCache(tmp_path).get(["a"], fail)
    assert [path.name for path in tmp_path.iterdir()] == ["kept.lock"]


def test_vectors_come_back_as_written(tmp_path: Path) -> None:
    vectors = {"a": torch.randn(3, 5), "b": torch.randn(1, 5), "": torch.randn(2, 5)}
    TokenVectors.write(tmp_path, [(["a", "b"], [vectors["a"], vectors["b"]]), ([""], [vectors[""]])])
    found = TokenVectors(tmp_path)
    assert all(torch.equal(found.read(text), vector) for text, vector in reversed(vectors.items()))
    with pytest.raises(KeyError):
        found.read("c")


def test_captions_that_are_cut_are_counted(scorer: BertScorer) -> None:
    long = "nodule " * 600
    assert scorer.count_truncated([long, "a", "a"], ["a", long, "a"]) == 2
    found = scorer.score([long, long + "mass"], ["a nodule", "a nodule"])
    assert found["f1"][0] == pytest.approx(found["f1"][1], abs=1e-6)
