"""What the models are fed: only the caption and its end are learned; padding never changes an example."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from radcap.models.inputs import IGNORED, collate, encode, fill_template
from tests.conftest import png
from tests.models_for_tests import KEYS, PARAMS, shared


def prompt(key: str) -> str:
    return fill_template(PARAMS.models[key].template, "Describe it.")


@pytest.mark.parametrize("key", KEYS)
def test_labels_are_the_caption_and_its_end(key: str) -> None:
    loaded = shared(key)
    given_only, _ = encode(loaded, png(), prompt(key))
    features, cut = encode(loaded, png(), prompt(key), caption="CT of the chest.", max_caption_tokens=64)
    ids, labels = features[loaded.family.ids_name][0], features["labels"][0]
    learned = labels[labels != IGNORED]
    start = given_only[loaded.family.ids_name].shape[1]
    assert not cut
    assert torch.equal(ids[:start], given_only[loaded.family.ids_name][0])
    assert torch.equal(ids[start:], learned)
    assert torch.all(labels[:start] == IGNORED)
    assert learned[-1] == loaded.family.end_id(loaded.processor)
    text = loaded.family.tokenizer(loaded.processor).decode(learned[:-1])
    assert text.strip() == "CT of the chest."


@pytest.mark.parametrize("key", KEYS)
def test_a_long_caption_is_cut_the_prompt_never(key: str) -> None:
    loaded = shared(key)
    whole, _ = encode(loaded, png(), prompt(key))
    features, cut = encode(loaded, png(), prompt(key), caption="chest " * 50, max_caption_tokens=7)
    assert cut
    assert features[loaded.family.ids_name].shape[1] == whole[loaded.family.ids_name].shape[1] + 7


@pytest.mark.parametrize("key", KEYS)
def test_image_tokens_match_what_the_model_makes(key: str) -> None:
    """A forward pass fails where placeholders and image features differ in number; odd sizes included."""
    loaded = shared(key)
    for size in ((40, 32), (200, 60), (33, 90)):
        features, _ = encode(loaded, png(size=size), prompt(key), caption="CT.", max_caption_tokens=9)
        batch = collate([features], loaded.family, pad_id=0, side="right")
        labels = batch.pop("labels")
        with torch.inference_mode():
            assert loaded.model(**batch).logits.shape[:2] == labels.shape


@given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=5), side=st.sampled_from(["left", "right"]))
def test_padding_is_masked_and_stands_on_its_side(lengths: list[int], side: str) -> None:
    examples = [{"input_ids": torch.arange(1, n + 1)[None], "labels": torch.arange(1, n + 1)[None]} for n in lengths]
    batch = collate(examples, shared("llava_1_5_7b").family, pad_id=0, side=side)  # type: ignore[arg-type]
    assert batch["input_ids"].shape == batch["attention_mask"].shape == (len(lengths), max(lengths))
    for row, mask, labels, length in zip(
        *(batch[k] for k in ("input_ids", "attention_mask", "labels")), lengths, strict=True
    ):
        kept = row[-length:] if side == "left" else row[:length]
        assert torch.equal(kept, torch.arange(1, length + 1))
        assert mask.sum() == length
        assert torch.equal(mask == 0, row == 0)
        assert torch.equal(labels == IGNORED, mask == 0)


def test_inputs_of_different_shape_are_padded_with_zeros() -> None:
    tiles = [
        {"input_ids": torch.ones(1, 2, dtype=torch.long), "pixel_values": torch.ones(1, n, 3, 4, 4)} for n in (1, 3)
    ]
    batch = collate(tiles, shared("llava_1_5_7b").family, pad_id=0, side="left")
    assert batch["pixel_values"].shape == (2, 3, 3, 4, 4)
    assert batch["pixel_values"][0, 1:].abs().sum() == 0
