"""BLEURT against the reference implementation's outputs, and the published sizes against the key map."""

import itertools
import json
import random
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from radcap.errors import UserError
from radcap.metrics.batching import BATCH_TOKENS
from radcap.metrics.bleurt import BleurtScorer, build_model, published_name
from radcap.metrics.preprocessing import preprocess

GOLDEN = Path(__file__).parent / "golden" / "bleurt"
CASES = json.loads((GOLDEN / "cases.json").read_text(encoding="utf-8"))["cases"]
REFERENCES = [case["reference"] for case in CASES]
CANDIDATES = [case["candidate"] for case in CASES]
EXPECTED = [case["expected"] for case in CASES]
ROBUST = [
    "",
    " ",
    "\u2028",
    "...",
    "[CLS] [SEP] <mask> [PAD]",
    "mass " * 10_000,
    "𝄞🧠\u200d\x00\ufeff\ud800",
    "肺" * 3000,
]


@pytest.fixture(scope="module")
def scorer() -> BleurtScorer:
    return BleurtScorer(GOLDEN)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the golden checkpoint, to be damaged."""
    return Path(shutil.copytree(GOLDEN, tmp_path / "bleurt"))


def forwarded(scorer: BleurtScorer, monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor]:
    """The input ids (pairs, tokens) of every batch that the model gets from now on."""
    batches: list[torch.Tensor] = []
    embeddings = scorer.model.rembert.embeddings
    forward = embeddings.forward

    def spy(ids: torch.Tensor, **inputs: torch.Tensor) -> Any:
        batches.append(ids)
        return forward(ids, **inputs)

    monkeypatch.setattr(embeddings, "forward", spy)
    return batches


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_token_ids_and_types_equal_the_reference(scorer: BleurtScorer, case: dict[str, Any]) -> None:
    tokenizer = scorer.tokenizer
    pair = tokenizer.pair(tokenizer.encode(case["reference"]), tokenizer.encode(case["candidate"]))
    assert list(pair.ids) == case["input_ids"]
    assert [pair.reference_length, len(pair.ids) - pair.reference_length] == case["token_type_ids_runs"]


@pytest.mark.parametrize(("batch_tokens", "tolerance"), [(1, 1e-6), (200, 2e-6), (None, 2e-6)])
def test_scores_equal_the_reference(batch_tokens: int | None, tolerance: float) -> None:
    scores = BleurtScorer(GOLDEN, batch_tokens=batch_tokens).score(CANDIDATES, REFERENCES, raw=True)
    assert scores == pytest.approx(EXPECTED, rel=0, abs=tolerance)


def test_captions_are_preprocessed_unless_raw(scorer: BleurtScorer) -> None:
    scores = scorer.score(CANDIDATES, REFERENCES)
    assert scores == scorer.score(list(map(preprocess, CANDIDATES)), list(map(preprocess, REFERENCES)), raw=True)
    assert scores != pytest.approx(EXPECTED, abs=1e-3)
    assert scorer.score(["CT: 12 mm!"], ["..."]) == scorer.score(["ct number mm"], [""], raw=True)


def test_the_order_of_captions_changes_nothing(scorer: BleurtScorer) -> None:
    order = random.Random(0).sample(range(len(CASES)), len(CASES))
    shuffled = scorer.score([CANDIDATES[i] for i in order], [REFERENCES[i] for i in order], raw=True)
    scores = scorer.score(CANDIDATES, REFERENCES, raw=True)
    assert shuffled == [scores[i] for i in order]


def test_the_order_of_captions_changes_no_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pairs of one length are the hard case."""
    scorer = BleurtScorer(GOLDEN, batch_tokens=150)
    inputs = forwarded(scorer, monkeypatch)
    texts = ["".join(letters) for letters in itertools.product("acdefghilmnoprst", repeat=2)]
    scorer.score(texts, ["a mass"] * 256, raw=True)
    first, inputs[:] = inputs[:], []
    random.Random(0).shuffle(texts)
    scorer.score(texts, ["a mass"] * 256, raw=True)
    assert len(first) > 10
    assert [ids.tolist() for ids in inputs] == [ids.tolist() for ids in first]


def test_neighbours_change_nothing_beyond_rounding(scorer: BleurtScorer) -> None:
    alone = [scorer.score([cand], [ref])[0] for cand, ref in zip(CANDIDATES, REFERENCES, strict=True)]
    assert scorer.score(CANDIDATES, REFERENCES) == pytest.approx(alone, rel=0, abs=2e-6)


def test_equal_pairs_are_computed_once(scorer: BleurtScorer, monkeypatch: pytest.MonkeyPatch) -> None:
    batches = forwarded(scorer, monkeypatch)
    scores = scorer.score(["A mass.", "No mass.", "a mass"] * 20, ["a nodule"] * 60)
    assert [len(ids) for ids in batches] == [2]
    assert scores[:3] * 20 == scores
    assert scores[0] == scores[2] != scores[1]


def test_batches_are_sorted_and_small_where_long(scorer: BleurtScorer, monkeypatch: pytest.MonkeyPatch) -> None:
    batches = forwarded(scorer, monkeypatch)
    words = [f"{'mass ' * (n % 50)}{'cyst ' * (n // 50)}" for n in range(200)]
    scorer.score(words + [f"{n} " * 600 for n in "abcdefghijklm"], [""] * 213)
    shapes = [tuple(ids.shape) for ids in batches]
    assert [tokens for _, tokens in shapes] == sorted((tokens for _, tokens in shapes), reverse=True)
    assert sum(pairs for pairs, _ in shapes) == 213
    assert shapes[0] == (BATCH_TOKENS["cpu"] // 512, 512)
    assert max(pairs for pairs, _ in shapes) > 32


@pytest.mark.parametrize("raw", [True, False])
def test_odd_captions_get_finite_scores(scorer: BleurtScorer, raw: bool) -> None:
    candidates = [text for text in ROBUST for _ in ROBUST]
    scores = scorer.score(candidates, ROBUST * len(ROBUST), raw=raw)
    assert len(scores) == len(ROBUST) ** 2
    assert all(type(score) is float and -10 < score < 10 and score != 1.0 for score in scores)


def test_empty_captions_get_the_models_score(scorer: BleurtScorer) -> None:
    empty = next(case["expected"] for case in CASES if case["id"] == "both-empty")
    blanks = ["", " \t\n", "\u2028", "..."]
    assert scorer.score(blanks, blanks[::-1]) == pytest.approx([empty] * 4, rel=0, abs=1e-6)
    assert scorer.score([], []) == []


def test_half_a_surrogate_pair_reads_as_a_question_mark(scorer: BleurtScorer) -> None:
    assert scorer.score(["a \ud800 mass"], ["a mass"], raw=True) == scorer.score(["a ? mass"], ["a mass"], raw=True)


def test_cut_pairs_are_counted(scorer: BleurtScorer) -> None:
    cut = [case["untruncated_tokens"] > 512 for case in CASES]
    assert sum(cut) == 5
    assert [scorer.count_truncated([c], [r], raw=True) for c, r in zip(CANDIDATES, REFERENCES, strict=True)] == cut
    assert scorer.count_truncated(["mass " * 10_000, ""], ["", "mass " * 10_000]) == 2


@pytest.mark.parametrize(
    ("first", "second"),
    [(254, 255), (255, 255), (255, 254), (254, 256), (300, 10), (509, 0), (510, 0), (510, 510), (1, 600), (100, 600)],
)
def test_tokens_are_popped_from_the_longer_and_from_the_candidate_at_a_tie(
    scorer: BleurtScorer, first: int, second: int
) -> None:
    reference, candidate = [7] * first, [8] * second
    pair = scorer.tokenizer.pair(reference, candidate)
    while len(reference) + len(candidate) > 509:
        (reference if len(reference) > len(candidate) else candidate).pop()
    assert (pair.reference_length - 2, len(pair.ids) - pair.reference_length - 1) == (len(reference), len(candidate))


def test_captions_must_come_in_pairs(scorer: BleurtScorer) -> None:
    with pytest.raises(ValueError, match="zip"):
        scorer.score(["a", "b"], ["a"])


@pytest.mark.parametrize("kind", [torch.float32, torch.float16])
def test_pytorch_files_are_read(folder: Path, kind: torch.dtype) -> None:
    """As published: pickled, of which only tensors are read; computed in float32 whatever the file's type."""
    weights = load_file(folder / "model.safetensors")
    torch.save(
        {k: v.to(kind) if v.is_floating_point() else v for k, v in weights.items()}, folder / "pytorch_model.bin"
    )
    (folder / "model.safetensors").unlink()
    scorer = BleurtScorer(folder, batch_tokens=1)
    assert {value.dtype for value in scorer.model.parameters()} == {torch.float32}
    tolerance = 1e-6 if kind is torch.float32 else 1e-2
    assert scorer.score(CANDIDATES, REFERENCES, raw=True) == pytest.approx(EXPECTED, rel=0, abs=tolerance)


def edited_weights(change: Callable[[dict[str, torch.Tensor]], Any]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        weights = load_file(folder / "model.safetensors")
        change(weights)
        save_file(weights, folder / "model.safetensors")

    return edit


def edited_config(**values: Any) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | values))

    return edit


def small_vocabulary(folder: Path) -> None:
    key = "bleurt.embeddings.word_embeddings.weight"
    edited_config(vocab_size=300)(folder)
    edited_weights(lambda w: w.update({key: w[key][:300].clone()}))(folder)


def pickle_with_code(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save({"classifier.bias": print}, folder / "pytorch_model.bin")


Q = "bleurt.encoder.layer.1.attention.self.query.weight"
MISTAKES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no folder": (
        shutil.rmtree,
        "BLEURT's folder {folder} lacks config.json, spm.model, model.safetensors or pytorch_model.bin",
    ),
    "no config": (
        lambda f: (f / "config.json").unlink(),
        "BLEURT's folder {folder} lacks config.json",
    ),
    "no tokenizer": (
        lambda f: (f / "spm.model").unlink(),
        "BLEURT's folder {folder} lacks spm.model",
    ),
    "no weights": (
        lambda f: (f / "model.safetensors").unlink(),
        "BLEURT's folder {folder} lacks model.safetensors or pytorch_model.bin",
    ),
    "broken config": (lambda f: (f / "config.json").write_text("{"), "{folder}/config.json is not JSON ("),
    "config of another kind": (
        lambda f: (f / "config.json").write_text("[]"),
        "{folder}/config.json does not give vocab_size; is it BLEURT-20's or BLEURT-20-D12's?",
    ),
    "BERT's config": (
        edited_config(embedding_size=None),
        "{folder}/config.json does not give embedding_size; is it BLEURT-20's or BLEURT-20-D12's?",
    ),
    "impossible config": (
        edited_config(num_attention_heads=5),
        "{folder}/config.json does not describe a BLEURT (The hidden size (48) is not a multiple",
    ),
    "wrongly typed config": (edited_config(hidden_size="48"), "{folder}/config.json does not describe a BLEURT ("),
    "too small a vocabulary": (small_vocabulary, "{folder}: spm.model has 400 pieces, config.json only 300"),
    "broken tokenizer": (
        lambda f: (f / "spm.model").write_bytes(b"no model"),
        "{folder}/spm.model is not a sentencepiece model (",
    ),
    "broken weights": (
        lambda f: (f / "model.safetensors").write_bytes(b"no weights"),
        "{folder}/model.safetensors cannot be read as weights (",
    ),
    "code in a pickle": (
        pickle_with_code,
        "{folder}/pytorch_model.bin cannot be read as weights (Weights only load failed",
    ),
    "missing": (
        edited_weights(lambda w: (w.pop(Q), w.pop("classifier.bias"))),
        "{folder}/model.safetensors: 2 weights are missing, first bleurt.encoder.layer.1.attention.self.query.weight",
    ),
    "unexpected": (
        edited_weights(lambda w: w.update(extra=torch.ones(1))),
        "{folder}/model.safetensors: 1 weights are unexpected, first extra",
    ),
    "transformers' own layout": (
        edited_weights(lambda w: w.update({key.replace("bleurt.", "rembert."): w.pop(key) for key in list(w)})),
        "{folder}/model.safetensors: 57 weights are missing, first bleurt.embeddings.LayerNorm.bias",
    ),
    "wrongly shaped": (
        edited_weights(lambda w: w.update({Q: w[Q][:, :24].clone()})),
        "{folder}/model.safetensors: " + Q + " has shape (48, 24); config.json requires (48, 48)",
    ),
    "one layer too many": (
        edited_config(num_hidden_layers=2),
        "{folder}/model.safetensors: 16 weights are unexpected, first bleurt.encoder.layer.2.",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_checkpoint_that_does_not_fit_is_refused_in_one_line(folder: Path, mistake: str) -> None:
    spoil, message = MISTAKES[mistake]
    spoil(folder)
    with pytest.raises(UserError) as caught:
        BleurtScorer(folder)
    assert str(caught.value).startswith(message.replace("{folder}", str(folder)))
    assert "\n" not in str(caught.value)


def test_the_position_buffer_may_be_absent(folder: Path) -> None:
    edited_weights(lambda w: w.pop("bleurt.embeddings.position_ids"))(folder)
    scores = BleurtScorer(folder, batch_tokens=1).score(CANDIDATES[:3], REFERENCES[:3], raw=True)
    assert scores == pytest.approx(EXPECTED[:3], rel=0, abs=1e-6)


def test_weights_that_give_no_number_are_refused(folder: Path) -> None:
    edited_weights(lambda w: w["classifier.bias"].fill_(float("nan")))(folder)
    with pytest.raises(UserError, match="its weights give a non-finite score"):
        BleurtScorer(folder).score(["a mass"], ["a nodule"])


SHARED = {
    "hidden_act": "gelu",
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
    "layer_norm_eps": 1e-12,
    "pad_token_id": 0,
}
SIZES = ("vocab_size", "embedding_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
D12 = dict(zip(SIZES, (120300, 128, 1024, 12, 16, 4096), strict=True)) | SHARED
# The vocabulary is RemBERT's own: its config.json is the authority wherever the weights are.
BLEURT_20 = dict(zip(SIZES, (250300, 256, 1152, 32, 18, 4608), strict=True)) | SHARED


def published_shapes(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """The published layout written out: {key: shape}."""
    vocabulary, narrow, wide, layers, _, inner = (config[name] for name in SIZES)
    embeddings = {
        "word_embeddings.weight": (vocabulary, narrow),
        "position_embeddings.weight": (512, narrow),
        "token_type_embeddings.weight": (2, narrow),
        "LayerNorm.weight": (narrow,),
        "LayerNorm.bias": (narrow,),
    }
    dense = {
        "attention.self.query": (wide, wide),
        "attention.self.key": (wide, wide),
        "attention.self.value": (wide, wide),
        "attention.output.dense": (wide, wide),
        "intermediate.dense": (inner, wide),
        "output.dense": (wide, inner),
        "attention.output.LayerNorm": (wide,),
        "output.LayerNorm": (wide,),
    }
    modules = {
        "bleurt.encoder.embedding_projection": (wide, narrow),
        "bleurt.pooler.dense": (wide, wide),
        "classifier": (1, wide),
    }
    modules |= {f"bleurt.encoder.layer.{n}.{name}": shape for n in range(layers) for name, shape in dense.items()}
    shapes = {f"bleurt.embeddings.{name}": shape for name, shape in embeddings.items()}
    for name, shape in modules.items():
        shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    return shapes


@pytest.mark.parametrize(("config", "millions"), [(D12, 167), (BLEURT_20, 575)], ids=["BLEURT-20-D12", "BLEURT-20"])
def test_the_key_map_covers_the_published_sizes_both_ways(config: dict[str, Any], millions: int) -> None:
    with torch.device("meta"):
        model = build_model(config)
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    renamed = {published_name(name): shape for name, shape in shapes.items()}
    assert len(renamed) == len(shapes)
    assert renamed == published_shapes(config)
    assert sum(value.numel() for value in model.parameters()) // 10**6 == millions
    assert model.rembert.embeddings.LayerNorm.eps == 1e-12


def test_every_value_of_the_configuration_reaches_the_model() -> None:
    values = {
        "hidden_act": "relu",
        "max_position_embeddings": 9,
        "type_vocab_size": 3,
        "layer_norm_eps": 0.5,
        "pad_token_id": 4,
    }
    config = dict(zip(SIZES, (11, 3, 8, 1, 2, 5), strict=True)) | values
    model = build_model(config)
    found = model.config.to_dict()
    assert {name: found["input_embedding_size" if name == "embedding_size" else name] for name in config} == config
    assert model.rembert.encoder.layer[0].output.LayerNorm.eps == 0.5


def test_the_written_out_layout_is_the_golden_ones() -> None:
    config = json.loads((GOLDEN / "config.json").read_text())
    golden = {key: tuple(value.shape) for key, value in load_file(GOLDEN / "model.safetensors").items()}
    assert published_shapes(config) | {"bleurt.embeddings.position_ids": (1, 512)} == golden
