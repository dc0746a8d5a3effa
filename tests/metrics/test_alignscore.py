"""AlignScore against its reference implementation's outputs, its checkpoint's conversion, and its robustness."""

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from radcap import files
from radcap.errors import UserError
from radcap.metrics.alignscore import (
    AlignScorer,
    Pair,
    make_chunks,
    make_pairs,
    punkt_splitter,
    split_sentences,
    truncated_lengths,
)
from radcap.metrics.alignscore_checkpoint import convert

GOLDEN = Path(__file__).parent / "golden" / "alignscore"
CASES = json.loads((GOLDEN / "cases.json").read_text(encoding="utf-8"))["cases"]
SCORED = [case for case in CASES if case["expected"] is not None]
CRASHING = [case for case in CASES if case["expected"] is None]
# Their sentences are not what any splitter finds: several in one, on purpose.
GIVEN = {
    "chunk-more-chunks-than-sentences": "context",
    "claim-sentence-over-512-tokens": "claim",
    "claim-long-and-context-long": "claim",
    "claim-mixed-long-and-short": "claim",
}
SPLIT = [case for case in SCORED if case["id"] not in GIVEN]
TEXTS = [(case["claim"], case["context"]) for case in SPLIT]


@pytest.fixture(scope="module")
def scorer() -> AlignScorer:
    return AlignScorer(GOLDEN)


def captions() -> list[tuple[list[str], list[str]]]:
    return [(make_chunks(case["context"], case["context_sentences"]), case["claim_sentences"]) for case in SCORED]


def test_every_golden_case_is_of_one_kind() -> None:
    assert (len(SCORED), len(CRASHING), len(SPLIT)) == (47, 4, 43)
    assert {case["id"] for case in SCORED} >= GIVEN.keys()


def test_chunks_match_the_reference() -> None:
    assert [found for found, _ in captions()] == [case["chunks"] for case in SCORED]


@pytest.mark.parametrize(
    ("words", "sentences", "sizes"),
    [
        (0, 0, [1]),
        (349, 7, [7]),
        (350, 7, [3, 3, 1]),
        (700, 7, [2, 2, 2, 1]),
        (3500, 2, [1, 1]),
    ],
)
def test_chunks_by_words(words: int, sentences: int, sizes: list[int]) -> None:
    found = make_chunks("w " * words, ["s"] * sentences)
    assert [len(chunk.split(" ")) for chunk in found] == sizes


def test_scores_equal_the_reference(scorer: AlignScorer) -> None:
    assert scorer.score_sentences(captions()) == pytest.approx([case["expected"] for case in SCORED], abs=1e-6)


def test_scores_of_raw_captions_equal_the_reference(scorer: AlignScorer) -> None:
    found = scorer.score(*zip(*TEXTS, strict=True))
    assert found == pytest.approx([case["expected"] for case in SPLIT], abs=1e-6)


@pytest.mark.parametrize(
    ("head", "key", "value", "tolerance"),
    [
        ("tri_layer", "pair_probabilities", lambda raw: raw.softmax(-1), 1e-6),
        ("bin_layer", "pair_bin_prob_aligned", lambda raw: raw.softmax(-1)[..., 1], 1e-6),
        ("reg_layer", "pair_reg", lambda raw: raw, 5e-6),
    ],
    ids=["tri", "bin", "reg"],
)
def test_heads_equal_the_reference(
    scorer: AlignScorer, head: str, key: str, value: Callable[[Tensor], Tensor], tolerance: float
) -> None:
    for case, raw in zip(SCORED, scorer.head_outputs(captions(), head=head), strict=True):
        found, expected = value(raw).flatten(), torch.tensor(case[key]).flatten()
        assert found.shape == expected.shape
        assert (found - expected).abs().max() <= tolerance, case["id"]


def test_token_ids_equal_the_reference(scorer: AlignScorer) -> None:
    """Also for captions that spell special tokens."""
    named = [(case, caption) for case, caption in zip(SCORED, captions(), strict=True) if case.get("pair_input_ids")]
    assert len(named) == 35
    for case, (passages, sentences) in named:
        tokens = scorer._tokens([*passages, *sentences])
        found = [scorer.pair_ids(pair, tokens) for pair in make_pairs(passages, sentences, tokens)]
        assert found == case["pair_input_ids"], case["id"]


@pytest.mark.parametrize("strategy", ["only_first", "longest_first"])
@pytest.mark.parametrize(("chunk", "sentence"), [(0, 508), (1, 507), (300, 208), (301, 208), (600, 507), (600, 300)])
def test_truncation_is_the_tokenizers_own(scorer: AlignScorer, chunk: int, sentence: int, strategy: str) -> None:
    check_truncation(scorer, [" a" * chunk, " a" * sentence], strategy)


@pytest.mark.parametrize(("chunk", "sentence"), [(0, 509), (1, 508), (2, 508), (300, 600), (600, 700), (254, 600)])
def test_truncation_where_only_the_first_does_not_do(scorer: AlignScorer, chunk: int, sentence: int) -> None:
    """The reference falls back if the tokenizer raises an error, which is when `make_pairs` sets `longest_first`."""
    texts = [" a" * chunk, " a" * sentence]
    with pytest.raises(Exception, match="Sequence to truncate too short"):
        scorer.tokenizer(*texts, truncation="only_first", max_length=512)
    assert make_pairs(*([text] for text in texts), scorer._tokens(texts)) == [Pair(*texts, longest_first=True)]
    check_truncation(scorer, texts, "longest_first")


def check_truncation(scorer: AlignScorer, texts: list[str], strategy: str) -> None:
    expected = scorer.tokenizer(*texts, truncation=strategy, max_length=512)["input_ids"]
    pair, tokens = Pair(*texts, longest_first=strategy == "longest_first"), scorer._tokens(texts)
    assert scorer.pair_ids(pair, tokens) == expected
    assert (
        sum(truncated_lengths(*(len(tokens[text]) for text in texts), longest_first=pair.longest_first))
        == len(expected) - 4
    )


def test_the_limit_of_a_group() -> None:
    """One sentence that fills the input changes the up to 32 pairs that the reference reads with it, and no others."""
    tokens = {"short": range(10), "long": range(400), "chunk": range(600), "full": range(508)}
    assert not any(pair.longest_first for pair in make_pairs(["chunk"], ["short", "long"] * 20, tokens))
    found = make_pairs(["short", "chunk"], ["short", "long", *["short"] * 28, "full", "long", "full", "long"], tokens)
    # 34 sentences: pairs 0-31, 32-63 and 64-67 are groups.
    assert [pair.longest_first for pair in found[:32]] == [False] * 30 + [True, False]
    assert [pair.longest_first for pair in found[32:64]] == [True, False] + [True] * 30
    assert [pair.longest_first for pair in found[64:]] == [True] * 4
    apart = make_pairs(["chunk"], [*["long"] * 32, "full"], tokens)
    assert [pair.longest_first for pair in apart] == [False] * 32 + [True]


@pytest.mark.parametrize("batch_tokens", [1, 100, 100_000])
def test_scores_do_not_depend_on_batches_or_order(scorer: AlignScorer, batch_tokens: int) -> None:
    expected = scorer.score(*zip(*TEXTS, strict=True))
    other = AlignScorer(GOLDEN, batch_tokens=batch_tokens)
    backwards = other.score(*zip(*TEXTS[::-1], strict=True))
    assert backwards[::-1] == pytest.approx(expected, abs=1e-6)


def test_scores_do_not_depend_on_neighbours(scorer: AlignScorer) -> None:
    together = scorer.score(*zip(*TEXTS, strict=True))
    alone = [scorer.score([claim], [context])[0] for claim, context in TEXTS]
    assert alone == pytest.approx(together, abs=1e-6)


def test_pairs_are_read_once_in_batches_of_similar_length(monkeypatch: pytest.MonkeyPatch) -> None:
    scorer, read = AlignScorer(GOLDEN, batch_tokens=20), []
    first_states = scorer.encoder.first_states

    def watched(embedded: Tensor, lengths: list[int]) -> object:
        read.append(lengths)
        return first_states(embedded, lengths)

    monkeypatch.setattr(scorer.encoder, "first_states", watched)
    found = scorer.score(["a", "a. a.", "mass " * 90, "a"], ["a", "a", "a", "a"])
    # a, "a." and the long one: three pairs.
    assert [len(lengths) for lengths in read] == [1, 2]
    assert read[0][0] > 90 > 10 > max(read[1])
    assert found[0] == found[3]


def test_an_empty_claim_is_zero_where_the_reference_crashes(scorer: AlignScorer) -> None:
    claims, contexts = zip(*((case["claim"], case["context"]) for case in CRASHING), strict=True)
    assert scorer.score(claims, contexts) == [0.0] * 4
    assert scorer.score([], []) == []
    with pytest.raises(ValueError, match="shorter"):
        scorer.score(["a"], [])


@pytest.mark.parametrize(
    "text",
    [
        "CT of the chest. " * 2500,
        "mass " * 10_000,
        "x" * 60_000,
        "...",
        "\u2028",
        "a\u2028b\u2029c\x85d\x00e",
        "\ud800 half a pair \udfff",
        "🧠" * 50,
        "[CLS] <mask> </s></s> <pad> <unk> <s>",
        "<pad>",
    ],
    ids=repr,
)
def test_odd_captions_have_an_ordinary_score(scorer: AlignScorer, text: str) -> None:
    found = scorer.score([text, "a nodule", text], ["a nodule", text, "CT. A nodule."])
    assert 0 < found[1] < 1
    assert [0 < value < 1 for value in (found[0], found[2])] == [bool(text.strip())] * 2
    assert text.strip() or found[0] == found[2] == 0


def test_surrogates_count_as_question_marks(scorer: AlignScorer) -> None:
    assert scorer.score(["a \ud800 b"], ["\udfff"]) == scorer.score(["a ? b"], ["?"])


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("CT of the chest", ["CT of the chest"]),
        ("CT.  MRI!\nWhere? There", ["CT.", "MRI!", "Where?", "There"]),
        ("A 3.4 cm mass, p<.05", ["A 3.4 cm mass, p<.05"]),
        ("See Fig. 3. (Arrow.) Next", ["See Fig.", "3.", "(Arrow.)", "Next"]),
        ('"A mass." He said so', ['"A mass."', "He said so"]),
        ("liver. right.", ["liver.", "right."]),
        (" CT. MRI. \n", [" CT.", "MRI."]),
        ("line\u2028one.\u2028Two", ["line\u2028one.", "Two"]),
        (".", ["."]),
        (" \t\u2028", []),
        ("", []),
    ],
)
def test_the_fallback_splits_by_its_rules(text: str, sentences: list[str]) -> None:
    """As does Punkt without data, so that only what Punkt learned makes a difference."""
    from nltk.tokenize.punkt import PunktSentenceTokenizer

    assert split_sentences(text) == sentences
    assert PunktSentenceTokenizer().tokenize(text) == sentences


def test_the_fallback_ends_a_sentence_at_an_ellipsis() -> None:
    assert split_sentences("A mass ... of 3 cm") == ["A mass ...", "of 3 cm"]


def test_the_fallback_finds_the_golden_sentences() -> None:
    for case in CASES:
        for side in {"context", "claim"} - {GIVEN.get(case["id"])}:
            assert split_sentences(case[side]) == case[f"{side}_sentences"], case["id"]


def punkt_folder(folder: Path, **changed: str) -> Path:
    """Data in punkt_tab's format, in which "fig" is an abbreviation."""
    folder.mkdir(parents=True)
    data = {"abbrev_types": "fig\nvs", "collocations": "##number##\tmass", "sent_starters": "the\nit"}
    for name, text in (data | changed).items():
        (folder / f"{name}.txt").write_text(text)
    (folder / "collocations.txt").rename(folder / "collocations.tab")
    (folder / "ortho_context.tab").write_text(changed.get("ortho_context", "the\t110\nmass\t32\n"))
    (folder / "ortho_context.txt").unlink(missing_ok=True)
    return folder


@pytest.mark.parametrize("inside", ["", "english", "punkt_tab/english", "tokenizers/punkt_tab/english"])
def test_punkt_splits_with_the_data_given(tmp_path: Path, scorer: AlignScorer, inside: str) -> None:
    punkt_folder(tmp_path / "data" / inside)
    trained = AlignScorer(GOLDEN, punkt=tmp_path / "data")
    assert (scorer.splitter, trained.splitter) == ("fallback", "punkt_tab")
    claim, context = "Mass vs. cyst, see Fig. 3. The liver. See Fig. The liver.", "A mass."
    sentences = ["Mass vs. cyst, see Fig. 3.", "The liver.", "See Fig.", "The liver."]
    assert punkt_splitter(tmp_path / "data")(claim) == sentences
    found = trained.score([claim, " "], [context, context])
    assert found == [*scorer.score_sentences([([context], sentences)]), 0.0]
    assert found[0] != scorer.score([claim], [context])[0]


def test_punkt_data_must_be_whole(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no punkt_tab in .*nowhere: abbrev_types.txt, collocations.tab, sent_st"):
        AlignScorer(GOLDEN, punkt=tmp_path / "nowhere")
    (punkt_folder(tmp_path / "part") / "sent_starters.txt").unlink()
    with pytest.raises(UserError, match=r"no punkt_tab in .*part: sent_starters.txt missing"):
        AlignScorer(GOLDEN, punkt=tmp_path / "part")
    with pytest.raises(UserError, match=r"punkt_tab in .*bad is damaged"):
        AlignScorer(GOLDEN, punkt=punkt_folder(tmp_path / "bad", ortho_context="the\tmany"))


def changed_copy(tmp_path: Path, change: dict[str, Tensor | None]) -> Path:
    """The golden folder with weights replaced, or dropped (None)."""
    folder = tmp_path / "changed"
    shutil.copytree(GOLDEN, folder)
    tensors = {**load_file(GOLDEN / "weights.safetensors"), **change}
    save_file({name: t for name, t in tensors.items() if t is not None}, folder / "weights.safetensors")
    return folder


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tri_layer.bias": None, "bin_layer.bias": None}, "2 weights are missing, first bin_layer.bias"),
        ({"base_model.pooler.dense.bias": None}, "1 weights are missing, first base_model.pooler.dense.bias"),
        ({"base_model.extra": torch.zeros(1)}, "1 weights are unexpected, first base_model.extra"),
        ({"tri_layer.weight": torch.zeros(2, 48)}, "1 weights are of another shape, first tri_layer.weight"),
        ({"reg_layer.bias": torch.tensor([float("nan")])}, "1 weights are not finite, first reg_layer.bias"),
    ],
)
def test_weights_are_read_strictly(tmp_path: Path, change: dict[str, Tensor | None], message: str) -> None:
    folder = changed_copy(tmp_path, change)
    with pytest.raises(UserError) as error:
        AlignScorer(folder)
    assert str(error.value) == f"AlignScore in {folder}: {message}"


def test_the_unused_weights_are_not_needed(tmp_path: Path, scorer: AlignScorer) -> None:
    names = load_file(GOLDEN / "weights.safetensors")
    unused = {name: None for name in names if name.startswith("mlm_head.") or name.endswith("position_ids")}
    assert len(unused) == 8
    found = AlignScorer(changed_copy(tmp_path, unused)).score(["a nodule"], ["a mass"])
    assert found == pytest.approx(scorer.score(["a nodule"], ["a mass"]), abs=1e-6)


@pytest.mark.parametrize("name", ["config.json", "vocab.json", "merges.txt", "weights.safetensors"])
def test_a_folder_must_be_whole(tmp_path: Path, name: str) -> None:
    folder = changed_copy(tmp_path, {})
    (folder / name).unlink()
    with pytest.raises(UserError) as error:
        AlignScorer(folder)
    assert str(error.value) == f"AlignScore: {folder} has no {name}"


CONFIG = json.loads((GOLDEN / "config.json").read_text())
VOCAB = json.loads((GOLDEN / "vocab.json").read_text())


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.json", "{", "config.json does not describe a RoBERTa"),
        ("config.json", "[]", "config.json does not describe a RoBERTa"),
        ("config.json", "{}", "config.json does not describe a RoBERTa .KeyError: 'vocab_size'"),
        ("config.json", json.dumps(CONFIG | {"hidden_act": "none"}), "config.json does not describe a RoBERTa"),
        (
            "config.json",
            json.dumps(CONFIG | {"num_attention_heads": 5}),
            "ValueError: The hidden size .48. is not a multiple",
        ),
        ("config.json", json.dumps(CONFIG | {"max_position_embeddings": 258}), "allows 256 tokens, fewer than 512"),
        ("config.json", json.dumps(CONFIG | {"pad_token_id": 0}), "differ in the id of <pad>"),
        ("vocab.json", "{", "vocab.json or merges.txt"),
        ("vocab.json", json.dumps(VOCAB | {"odd": 700}), "does not number the 700 tokens of config.json"),
        ("weights.safetensors", "not weights at all", "weights.safetensors is damaged"),
    ],
)
def test_damaged_files_are_reported_in_one_line(tmp_path: Path, name: str, content: str, message: str) -> None:
    folder = changed_copy(tmp_path, {})
    (folder / name).write_text(content)
    with pytest.raises(UserError, match=message) as error:
        AlignScorer(folder)
    assert "\n" not in str(error.value)


def lightning(tmp_path: Path, *, drop: str = "", **extra: object) -> Path:
    """A miniature of the published .ckpt, with RoBERTa's files beside it."""
    folder = tmp_path / "published"
    folder.mkdir()
    for name in ("config.json", "vocab.json", "merges.txt"):
        shutil.copyfile(GOLDEN / name, folder / name)
    state = load_file(GOLDEN / "weights.safetensors")
    # One tensor under two names, as pretraining's head has it.
    state["mlm_head.decoder.bias"] = state["mlm_head.bias"]
    state = {name: tensor for name, tensor in state.items() if name != drop}
    content = {"epoch": 3, "state_dict": state, "hyper_parameters": {"model": "roberta-base", "adam_epsilon": 1e-6}}
    torch.save(content | extra, folder / "AlignScore-mini.ckpt")
    return folder / "AlignScore-mini.ckpt"


def test_conversion_keeps_the_scores_and_records_its_source(tmp_path: Path) -> None:
    ckpt, folder = lightning(tmp_path), tmp_path / "converted"
    digest = convert(ckpt, folder)
    assert digest == files.sha256(ckpt)
    assert files.read_json(folder / "source.json") == {"file": ckpt.name, "sha256": digest, "model": "roberta-base"}
    names = {"config.json", "vocab.json", "merges.txt", "weights.safetensors", "source.json"}
    assert {path.name for path in folder.iterdir()} == names
    golden, found = load_file(GOLDEN / "weights.safetensors"), load_file(folder / "weights.safetensors")
    assert golden.keys() - found.keys() == {n for n in golden if n.startswith("mlm_head.") or "position_ids" in n}
    assert all(torch.equal(golden[name], tensor) for name, tensor in found.items())
    scores = AlignScorer(folder).score_sentences(captions())
    assert scores == pytest.approx([case["expected"] for case in SCORED], abs=1e-6)
    # Once more, with RoBERTa's files named: the same bytes.
    before = files.folder_hashes(folder)
    assert convert(ckpt, folder, roberta=GOLDEN) == digest
    assert files.folder_hashes(folder) == before


def test_conversion_reads_half_precision_and_the_old_format(tmp_path: Path) -> None:
    state = {name: tensor.half() for name, tensor in load_file(GOLDEN / "weights.safetensors").items()}
    torch.save({"state_dict": state}, tmp_path / "old.ckpt", _use_new_zipfile_serialization=False)
    convert(tmp_path / "old.ckpt", tmp_path / "converted", roberta=GOLDEN)
    assert files.read_json(tmp_path / "converted/source.json")["model"] == "unknown"
    found = load_file(tmp_path / "converted/weights.safetensors")
    assert {tensor.dtype for tensor in found.values()} == {torch.float32}
    assert torch.equal(found["tri_layer.weight"], state["tri_layer.weight"].float())


class Harmful:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> object:
        return Path.touch, (self.path,)


def test_conversion_runs_no_code(tmp_path: Path) -> None:
    ckpt = lightning(tmp_path, callbacks=Harmful(tmp_path / "touched"))
    with pytest.raises(UserError, match="cannot be read") as error:
        convert(ckpt, tmp_path / "converted")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "touched").exists() and not (tmp_path / "converted").exists()
    assert pickle.loads(pickle.dumps(Harmful(tmp_path / "touched"))) is None
    assert (tmp_path / "touched").exists()


def test_conversion_refuses_what_is_no_such_checkpoint(tmp_path: Path) -> None:
    ckpt, folder = lightning(tmp_path, drop="bin_layer.weight"), tmp_path / "converted"
    with pytest.raises(UserError, match=f"{ckpt}: 1 weights are missing, first bin_layer.weight"):
        convert(ckpt, folder)
    with pytest.raises(UserError, match="nowhere.ckpt not found"):
        convert(ckpt.with_name("nowhere.ckpt"), folder)
    with pytest.raises(UserError, match=f"{tmp_path} has no config.json, vocab.json, merges.txt"):
        convert(ckpt, folder, roberta=tmp_path)
    whole = ckpt.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", b"version https://git-lfs.github.com/spec/v1\n"):
        ckpt.write_bytes(damaged)
        with pytest.raises(UserError, match="cannot be read"):
            convert(ckpt, folder)
    for content in ([1, 2], {"model": {}}, {"state_dict": {"a": 1}}):
        torch.save(content, ckpt)
        with pytest.raises(UserError, match="holds no state_dict of tensors"):
            convert(ckpt, folder)
    assert [path.name for path in tmp_path.iterdir()] == ["published"]


def test_conversion_spares_a_folder_with_other_files(tmp_path: Path) -> None:
    ckpt = lightning(tmp_path)
    before = files.folder_hashes(ckpt.parent)
    with pytest.raises(UserError, match=r"published holds other files, first AlignScore-mini.ckpt; name a new folder"):
        convert(ckpt, ckpt.parent)
    assert files.folder_hashes(ckpt.parent) == before
