"""Similarity against the reference MedImageInsight, its strict loading, its cache of image embeddings, odd inputs."""

import hashlib
import importlib.metadata
import io
import json
import math
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from radcap.errors import UserError
from radcap.metrics import similarity
from radcap.metrics.medimageinsight import MedImageInsight, text_tower, weights
from radcap.metrics.medimageinsight.image_tower import decode_image
from radcap.metrics.protocols import PROTOCOLS, apply_protocol
from radcap.metrics.similarity import SimilarityScorer

GOLDEN = Path(__file__).parent / "golden" / "medimageinsight"
CASES = json.loads((GOLDEN / "cases.json").read_text(encoding="utf-8"))
TEXTS = {case["id"]: case["text"] for case in CASES["texts"]}
IMAGES = {case["file"]: case for case in CASES["images"]}
DEEP = [name for name, case in IMAGES.items() if case["pil_mode"] == "I;16"]
PLAIN = [name for name in IMAGES if name not in DEEP]
# Of an image of one grey, LayerNorm divides rounding errors by next to nothing. The reference's own figures for these
# are up to 6e-5 from what the same weights give in double precision, and every kind of processor rounds otherwise.
UNIFORM = {
    f"images/{name}" for name in ("one_pixel.png", "all_black.png", "grey16_12bit_range.png", "grey16_full_range.tif")
}


@pytest.fixture(scope="module")
def scorer() -> SimilarityScorer:
    return SimilarityScorer(GOLDEN)


def stored(name: str) -> bytes:
    return (GOLDEN / name).read_bytes()


def encoded(image: Image.Image, kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind)
    return stream.getvalue()


def small(seed: int) -> bytes:
    return encoded(Image.fromarray(np.random.default_rng(seed).integers(0, 256, (9, 8, 3), dtype=np.uint8)))


# ---- the reference


@pytest.mark.parametrize("case", CASES["texts"], ids=lambda case: case["id"])
def test_tokens_and_captions_match_the_reference(scorer: SimilarityScorer, case) -> None:
    ids = scorer.tokenizer.encode(case["text"])
    assert list(ids) == case["input_ids"]
    assert scorer.tokenizer.is_truncated(case["text"]) == (case["untruncated_tokens"] > 77)
    found = scorer.model.embed_texts([ids], batch_size=1)[0]
    assert found.tolist() == pytest.approx(case["expected"], abs=1e-6)


def test_captions_in_one_batch_match_the_reference(scorer: SimilarityScorer) -> None:
    found = scorer.model.embed_texts([tuple(case["input_ids"]) for case in CASES["texts"]], batch_size=32)
    expected = torch.tensor([case["expected"] for case in CASES["texts"]])
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("size", [480, 96])
@pytest.mark.parametrize("name", IMAGES)
def test_images_match_the_reference(scorer: SimilarityScorer, monkeypatch: pytest.MonkeyPatch, name: str, size: int):
    monkeypatch.setitem(scorer.model.settings["image_encoder"], "image_size", [size, size])
    with Image.open(GOLDEN / name) as image:
        found = scorer.model.embed_image(image.convert("RGB"))
        tolerance = 1e-4 if name in UNIFORM else 5e-6
        assert found.tolist() == pytest.approx(IMAGES[name][f"expected_rgb_{size}"], abs=tolerance)
        if name in DEEP:
            high_bytes = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
            found = scorer.model.embed_image(high_bytes)
            assert found.tolist() == pytest.approx(IMAGES[name][f"expected_high_byte_{size}"], abs=5e-6)


@pytest.mark.parametrize("name", sorted(UNIFORM))
def test_images_of_one_grey_are_near_double_precision(name: str) -> None:
    model = SimilarityScorer(GOLDEN).model
    with Image.open(GOLDEN / name) as image:
        single, double = (model.to(dtype).embed_image(image.convert("RGB")) for dtype in (torch.float32, torch.float64))
    assert single.tolist() == pytest.approx(double.tolist(), abs=1e-5)


def scores_match(scores: list[float], expected: list[float], pairs: list[dict[str, str]], *, scale: float = 1) -> None:
    for score, value, pair in zip(scores, expected, pairs, strict=True):
        assert score == pytest.approx(value, abs=scale * (1e-4 if pair["image"] in UNIFORM else 1e-6)), pair


@pytest.mark.parametrize("name", PLAIN)
def test_pixels_match_the_reference(name: str) -> None:
    assert hashlib.sha256(decode_image(stored(name)).tobytes()).hexdigest() == IMAGES[name]["rgb_pixels_sha256"]


@pytest.mark.parametrize("protocol", ["as-described", "imageclef-2025"])
def test_scores_match_the_reference(scorer: SimilarityScorer, protocol: str) -> None:
    pairs = [pair for pair in CASES["similarity"] if pair["image"] in PLAIN]
    assert len(pairs) == 64
    texts = [TEXTS[pair["text_id"]] for pair in pairs]
    measures = {"similarity": scorer.score(texts, [stored(pair["image"]) for pair in pairs])}
    found = apply_protocol(PROTOCOLS[protocol], measures, texts, ["x"] * len(pairs))["similarity"]
    key = "cos" if protocol == "as-described" else "expected"
    scores_match(found, [pair[key] for pair in pairs], pairs, scale=1 if key == "cos" else 2.5)


def test_scores_of_16_bit_images_that_are_clipped_match_the_reference(scorer: SimilarityScorer) -> None:
    """The reference scores are of Pillow's clipped conversion, which is passed as 8 bits here."""
    pairs = [pair for pair in CASES["similarity"] if pair["image"] in DEEP]
    assert len(pairs) == 8
    clipped = {name: encoded(Image.open(GOLDEN / name).convert("RGB")) for name in DEEP}
    texts, images = [TEXTS[pair["text_id"]] for pair in pairs], [clipped[pair["image"]] for pair in pairs]
    found = scorer.score(texts, images)
    scores_match(found, [pair["cos"] for pair in pairs], pairs)


# ---- conversions


@pytest.mark.parametrize("name", DEEP)
def test_16_bit_greys_are_stretched(name: str) -> None:
    values = np.asarray(Image.open(GOLDEN / name)).astype(float)
    expected = np.rint((values - values.min()) / (values.max() - values.min()) * 255)
    pixels = np.asarray(decode_image(stored(name)))
    assert pixels.shape == (*values.shape, 3)
    assert all(np.array_equal(pixels[..., channel], expected) for channel in range(3))


def test_alpha_is_dropped_and_exif_ignored_as_in_the_reference() -> None:
    colours = np.random.default_rng(0).integers(0, 256, (9, 12, 4), dtype=np.uint8)
    picture = Image.fromarray(colours)
    assert np.array_equal(np.asarray(decode_image(encoded(picture))), colours[..., :3])
    turned, stream = Image.Exif(), io.BytesIO()
    turned[0x0112] = 6
    picture.convert("RGB").save(stream, "PNG", exif=turned)
    assert np.array_equal(np.asarray(decode_image(stream.getvalue())), colours[..., :3])


def test_a_transparent_palette_gives_its_colours(recwarn: pytest.WarningsRecorder) -> None:
    picture = Image.fromarray(np.arange(96, dtype=np.uint8).reshape(8, 12)).convert("P")
    stream = io.BytesIO()
    picture.save(stream, "PNG", transparency=bytes(range(96)))
    assert np.array_equal(np.asarray(decode_image(stream.getvalue())), np.asarray(picture.convert("RGB")))
    assert not recwarn.list


def test_conversions_and_missing_images_are_counted(scorer: SimilarityScorer) -> None:
    images = [*map(stored, IMAGES), stored("images/rgba.png"), encoded(Image.new("LAB", (9, 9)), "TIFF"), None, None]
    expected = {"1": 1, "CMYK": 2, "I;16": 2, "LAB": 1, "P": 1, "RGBA": 2}
    for _ in range(2):
        found = scorer.score(["a nodule"] * len(images), images)
        assert scorer.conversions == expected
        assert scorer.missing == 2
        assert found[-2:] == [None, None]
        assert None not in found[:-2]
    scorer.score(["a nodule"], [stored("images/rgb.jpg")])
    assert (scorer.conversions, scorer.missing) == ({}, 0)


# ---- purity and economy


def test_batch_order_and_neighbours_do_not_matter(scorer: SimilarityScorer) -> None:
    texts = list(TEXTS.values())
    images = [small(seed % 5) for seed in range(len(texts))]
    expected = scorer.score(texts, images)
    alone = SimilarityScorer(GOLDEN, batch_size=1)
    backwards = alone.score(texts[::-1], images[::-1])[::-1]
    assert backwards == pytest.approx(expected, abs=1e-6)
    shuffled = SimilarityScorer(GOLDEN).score(texts[::-1], images[::-1])[::-1]
    assert shuffled == expected
    one_by_one = [scorer.score([t], [i])[0] for t, i in zip(texts, images, strict=True)]
    assert one_by_one == pytest.approx(expected, abs=1e-6)


def test_an_images_embedding_repeats_bit_for_bit(scorer: SimilarityScorer) -> None:
    pictures = [decode_image(small(seed)) for seed in range(3)]
    first = [scorer.model.embed_image(picture) for picture in pictures]
    again = [scorer.model.embed_image(picture) for picture in pictures[::-1]][::-1]
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(module.training for module in scorer.model.modules())


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How many images and captions went through the towers."""
    counts = {"images": 0, "captions": 0}
    towers = {"image_encoder": "images", "lang_encoder": "captions"}
    inside = MedImageInsight.__init__

    def counting(self, settings) -> None:
        inside(self, settings)
        for tower, label in towers.items():
            hook = lambda module, inputs, label=label: counts.update({label: counts[label] + len(inputs[0])})  # noqa: E731
            getattr(self, tower).register_forward_pre_hook(hook)

    monkeypatch.setattr(MedImageInsight, "__init__", counting)
    return counts


def test_equal_captions_and_images_are_computed_once(runs: dict[str, int]) -> None:
    fresh = SimilarityScorer(GOLDEN)
    texts, images = ["a nodule", "CT", "ct", "a  nodule ", "a nodule"], [small(0), small(1), small(0), None, small(1)]
    fresh.score(texts, images)
    assert runs == {"images": 2, "captions": 2}
    fresh.score(["another"] * 5, images)
    assert runs == {"images": 2, "captions": 3}


# ---- the cache on disk


def test_a_cache_spares_the_image_tower(tmp_path: Path, runs: dict[str, int]) -> None:
    cache, images = tmp_path / "kept" / "images.safetensors", [small(seed) for seed in range(3)]
    first = SimilarityScorer(GOLDEN, cache=cache).score(["a"] * 3, images)
    assert runs["images"] == 3
    kept = cache.read_bytes()
    later = SimilarityScorer(GOLDEN, cache=cache)
    assert later.score(["a"] * 3, images) == first
    later.score(["b"] * 3, images[::-1])
    assert runs["images"] == 3
    assert cache.read_bytes() == kept
    later.score(["a"] * 2, [images[0], small(3)])
    assert runs["images"] == 4
    SimilarityScorer(GOLDEN, cache=cache).score(["a"] * 4, [*images, small(3)])
    assert runs["images"] == 4
    assert [path.name for path in cache.parent.iterdir()] == [cache.name]


def test_a_cache_separates_checkpoints(tmp_path: Path, runs: dict[str, int]) -> None:
    other, cache = tmp_path / "other", tmp_path / "images.safetensors"
    shutil.copytree(GOLDEN, other)
    changed(other, lambda tensors: tensors["image_projection"].neg_())
    scores = {}
    for folder in (GOLDEN, other, GOLDEN, other):
        found = SimilarityScorer(folder, cache=cache).score(["a"], [small(0)])
        assert scores.setdefault(folder, found) == found
    assert runs["images"] == 2
    assert scores[GOLDEN] == [-value for value in scores[other]] != [0.0]


def test_a_checkpoints_hash_is_of_weights_and_sizes_not_of_its_place(tmp_path: Path, scorer: SimilarityScorer) -> None:
    shutil.copytree(GOLDEN, tmp_path / "moved")
    assert SimilarityScorer(tmp_path / "moved").hash == scorer.hash
    edit_config(tmp_path / "moved", lambda config: config["image_encoder"].update(image_size=[96, 96]))
    assert SimilarityScorer(tmp_path / "moved").hash != scorer.hash


def test_embeddings_before_a_damaged_image_are_saved(tmp_path: Path, runs: dict[str, int]) -> None:
    cache, images = tmp_path / "images.safetensors", [small(0), small(1), b"no image"]
    opened = SimilarityScorer(GOLDEN, cache=cache)
    assert opened.score(["a"] * 3, images)[2] is None
    assert (opened.missing, opened.unreadable) == (0, 1)
    SimilarityScorer(GOLDEN, cache=cache).score(["a"] * 2, images[:2])
    assert runs["images"] == 2


def test_embeddings_are_saved_regularly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(similarity, "SAVE_EVERY", 2)
    cache, sizes = tmp_path / "images.safetensors", []
    write = similarity.EmbeddingCache.write
    monkeypatch.setattr(
        similarity.EmbeddingCache, "write", lambda self, rows: (sizes.append(len(rows)), write(self, rows))
    )
    SimilarityScorer(GOLDEN, cache=cache).score(["a"] * 5, [small(n) for n in range(5)])
    assert sizes == [2, 4, 5]


def test_processes_that_share_a_cache_add_to_it(tmp_path: Path, runs: dict[str, int]) -> None:
    cache = tmp_path / "images.safetensors"
    two = [SimilarityScorer(GOLDEN, cache=cache) for _ in range(2)]
    for seed, opened in enumerate(two):
        opened.score(["a"], [small(seed)])
    SimilarityScorer(GOLDEN, cache=cache).score(["a"] * 2, [small(0), small(1)])
    assert runs["images"] == 2


def test_a_damaged_cache_is_reported(tmp_path: Path) -> None:
    cache = tmp_path / "images.safetensors"
    cache.write_bytes(b"nothing of the kind")
    with pytest.raises(UserError, match=r"^image cache .* cannot be read .*; delete it, and it is made anew$"):
        SimilarityScorer(GOLDEN, cache=cache)


# ---- rules and odd inputs


def test_an_empty_candidate_gets_the_models_score(scorer: SimilarityScorer) -> None:
    said = scorer.score(["", " \n\t", "a nodule"], [small(0)] * 3)
    assert said[0] == said[1] not in (0.0, None)
    assert said[2] != said[0]


ODD = {
    "long": "nodule " * 10_000,
    "one long word": "x" * 50_000,
    "separators": "a\u2028b\u2029c\x85d\x0be\x00f",
    "special names": "[CLS] <mask> <|endoftext|> [SEP] </w>",
    "half a pair": "mass \ud83e here \udde0",
    "a pair of halves": "brain \ud83e\udde0",
    "right to left": "\u202eكتلة\u202c",
    "joined": "👩‍⚕️ e\u0301\u0302\u0303",
    "blank of no width": "\u200b",
    "controls alone": "\ufeff\x07",
    "entity": "&#xD800; &#1114112; &bogus; &amp;amp;lt;",
}


@pytest.mark.parametrize("text", ODD.values(), ids=ODD)
def test_odd_captions_score_finitely_and_not_alike(scorer: SimilarityScorer, text: str) -> None:
    found, other = scorer.score([text, "a nodule"], [small(0)] * 2)
    assert math.isfinite(found)
    assert abs(found) < 0.99
    assert found != other


def test_no_captions_no_scores(scorer: SimilarityScorer) -> None:
    assert scorer.score([], []) == []


def test_captions_too_long_are_counted(scorer: SimilarityScorer) -> None:
    assert (
        scorer.count_truncated([TEXTS["content-74-tokens"], TEXTS["content-75-tokens"], TEXTS["content-76-tokens"]])
        == 1
    )


@pytest.mark.parametrize("data", [b"", b"nonsense", small(0)[:-40], None], ids=["empty", "no image", "cut", "absent"])
def test_an_image_that_cannot_be_read_has_no_score_and_is_counted(scorer: SimilarityScorer, data: bytes | None) -> None:
    found = scorer.score(["a", "b"], [data, small(0)])
    assert found[0] is None
    assert found[1] is not None
    assert scorer.missing + scorer.unreadable == 1
    assert scorer.missing == (data is None)


def test_captions_without_their_images_are_reported(scorer: SimilarityScorer) -> None:
    with pytest.raises(UserError, match="^2 captions, but 1 images; None stands for a missing one$"):
        scorer.score(["a", "b"], [small(0)])


# ---- repair of captions


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("R&amp;D &lt;5", "r&d <5"),
        ("<b>R&amp;D</b>", "<b>r&amp;d</b>"),
        ("‘a’ “b”", "'a' \"b\""),
        ("ﬁbula ﬂuid", "fibula fluid"),
        ("ＣＴ\u3000３５", "ct 35"),
        ("5\x96\x8110", "5–\x8110"),
        ("e\u0301", "é"),
        ("\x1b[31mred\x1b[0m\ufeff", "red"),
        (" a\r\n\u2028b ", "a b"),
    ],
)
def test_the_fallback_repairs_as_ftfy_documents(text: str, expected: str) -> None:
    assert text_tower.clean_text(text, repair="fallback") == expected


def test_ftfy_is_used_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "version", {"ftfy": "6.3.1"}.__getitem__)
    monkeypatch.setitem(sys.modules, "ftfy", SimpleNamespace(fix_text=lambda text: text.replace("Ã©", "É")))
    opened = SimilarityScorer(GOLDEN)
    assert opened.text_repair == "ftfy 6.3.1"
    assert opened.tokenizer.encode("cafÃ©") == opened.tokenizer.encode("café")


def test_without_ftfy_scores_are_labelled(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", absent)
    assert SimilarityScorer(GOLDEN).text_repair == "fallback"


# ---- strict loading


def changed(folder: Path, change) -> None:
    """Change a copied checkpoint's tensors."""
    tensors = load_file(folder / "weights.safetensors")
    change(tensors)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "weights.safetensors")


def edit_config(folder: Path, change) -> None:
    config = json.loads((folder / "config.json").read_text())
    change(config)
    (folder / "config.json").write_text(json.dumps(config))


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    shutil.copytree(GOLDEN, tmp_path / "checkpoint")
    return tmp_path / "checkpoint"


NORM = "image_encoder.blocks.2.1.channel_block.channel_attn.norm.bias"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop(NORM), f"1 weights are missing, first {NORM}"),
        (lambda t: t.pop("lang_projection"), "1 weights are missing, first lang_projection"),
        (lambda t: t.update(head=torch.zeros(1)), "1 weights are unexpected, first head"),
        (lambda t: t.update({NORM: torch.zeros(31)}), f"1 weights are of another shape, first {NORM}"),
        (lambda t: t.update({NORM: torch.full((32,), torch.nan)}), f"1 weights are not finite, first {NORM}"),
        (lambda t: t.update(a=t.pop(NORM)), f"1 weights are missing, first {NORM}; 1 weights are unexpected, first a"),
    ],
)
def test_weights_that_do_not_fit_are_reported(copied: Path, change, message: str) -> None:
    changed(copied, change)
    with pytest.raises(UserError) as caught:
        SimilarityScorer(copied)
    assert str(caught.value) == f"{copied / 'weights.safetensors'} is not a MedImageInsight of this size: {message}"


def test_the_temperature_is_not_needed_and_half_precision_is_widened(copied: Path) -> None:
    def halve(tensors) -> None:
        del tensors["logit_scale"]
        tensors.update({name: tensor.half() for name, tensor in tensors.items()})

    changed(copied, halve)
    opened = SimilarityScorer(copied)
    assert {parameter.dtype for parameter in opened.model.parameters()} == {torch.float32}


@pytest.mark.parametrize("name", ["weights.safetensors", "config.json", "vocab.json", "merges.txt"])
def test_an_incomplete_folder_is_reported(copied: Path, name: str) -> None:
    (copied / name).unlink()
    with pytest.raises(UserError) as caught:
        SimilarityScorer(copied)
    assert str(caught.value) == f"MedImageInsight checkpoint {copied}: {name} is missing"


def test_no_folder_is_reported(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^MedImageInsight checkpoint .*nowhere is not a folder$"):
        SimilarityScorer(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"vision_model.medimageinsigt-v1\.0\.0\.pt is missing$"):
        SimilarityScorer(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("weights.safetensors", "PK", "cannot be read as safetensors: "),
        ("config.json", "{", "config.json cannot be read: "),
        ("config.json", "[]", "config.json: image_encoder is missing"),
        ("vocab.json", "{", "vocab.json or merges.txt cannot be read"),
        ("merges.txt", "#version: 0.2\na b c\n", "vocab.json or merges.txt cannot be read"),
    ],
)
def test_unreadable_files_are_reported(copied: Path, name: str, content: str, message: str) -> None:
    (copied / name).write_text(content)
    with pytest.raises(UserError) as caught:
        SimilarityScorer(copied)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["text_encoder"].pop("heads"), "text_encoder.heads is missing"),
        (lambda c: c["text_encoder"].update(heads=5), "its config.json does not describe a MedImageInsight"),
        (
            lambda c: c["text_encoder"].update(vocab_size=700),
            "weights are of another shape, first lang_encoder.token_embedding.weight",
        ),
    ],
)
def test_sizes_that_do_not_fit_are_reported(copied: Path, change, message: str) -> None:
    edit_config(copied, change)
    with pytest.raises(UserError, match=message):
        SimilarityScorer(copied)


def test_a_tokenizer_of_another_size_is_reported(copied: Path) -> None:
    vocabulary = json.loads((copied / "vocab.json").read_text(encoding="utf-8"))
    (copied / "vocab.json").write_text(json.dumps(vocabulary | {"extra": 734}), encoding="utf-8")
    with pytest.raises(UserError, match=r"vocab\.json has 735 tokens, the text tower only 734$"):
        SimilarityScorer(copied)


@pytest.mark.parametrize("above", [True, False])
def test_the_published_tree_opens_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scorer: SimilarityScorer, above: bool
) -> None:
    tree = tmp_path / "2024.09.27"
    (tree / "vision_model").mkdir(parents=True)
    shutil.copy(GOLDEN / "weights.safetensors", tree / "vision_model" / "medimageinsigt-v1.0.0.pt")
    tokenizer = tree / "language_model" / "clip_tokenizer_4.16.2"
    tokenizer.mkdir(parents=True)
    for name in ("vocab.json", "merges.txt"):
        shutil.copy(GOLDEN / name, tokenizer)
    monkeypatch.setattr(weights, "PUBLISHED", json.loads((GOLDEN / "config.json").read_text()))
    opened = SimilarityScorer(tmp_path if above else tree)
    inputs = ["a nodule"], [stored("images/rgb.jpg")]
    assert opened.score(*inputs) == scorer.score(*inputs)


# ---- the published size


def published_names(depths: list[int], layers: int) -> set[str]:
    """The published checkpoint's names, from its layout."""
    both = ("weight", "bias")
    stems = ["image_encoder.norms", "lang_encoder.ln_final"]
    for stage, depth in enumerate(depths):
        stems += [f"image_encoder.convs.{stage}.{part}" for part in ("proj", "norm")]
        for block in range(depth):
            for kind, attention in (("spatial", "window"), ("channel", "channel")):
                stem = f"image_encoder.blocks.{stage}.{block}.{kind}_block"
                parts = ["conv1.fn.dw", "conv2.fn.dw", "ffn.norm", "ffn.fn.net.fc1", "ffn.fn.net.fc2"]
                parts += [f"{attention}_attn.{part}" for part in ("norm", "fn.qkv", "fn.proj")]
                stems += [f"{stem}.{part}" for part in parts]
    names = {"image_projection", "lang_projection", "lang_encoder.token_embedding.weight"}
    names |= {"lang_encoder.positional_embedding"}
    for layer in range(layers):
        stem = f"lang_encoder.resblocks.{layer}"
        stems += [f"{stem}.{part}" for part in ("ln_1", "ln_2", "mlp.c_fc", "mlp.c_proj", "attn.out_proj")]
        names |= {f"{stem}.attn.in_proj_{kind}" for kind in both}
    return names | {f"{stem}.{kind}" for stem in stems for kind in both}


def test_the_names_are_the_golden_checkpoints_own() -> None:
    assert published_names([1, 1, 2, 1], 3) == load_file(GOLDEN / "weights.safetensors").keys() - {"logit_scale"}


def test_the_published_size_has_616m_parameters_each_with_its_published_name() -> None:
    with torch.device("meta"):
        model = MedImageInsight(weights.PUBLISHED)
    assert sum(parameter.numel() for parameter in model.parameters()) == pytest.approx(616e6, abs=0.05e6)
    assert model.state_dict().keys() == dict(model.named_parameters()).keys()
    named = [weights.published_name(name) for name in model.state_dict()]
    assert len(set(named)) == len(named)
    assert set(named) == published_names([1, 1, 9, 1], 16)
