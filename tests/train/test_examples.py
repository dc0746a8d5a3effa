"""Examples: their lengths by the images' sizes alone, their order, captions cut and counted, workers."""

from pathlib import Path

import pytest
import torch

from radcap.data import store
from radcap.models.inputs import fill
from radcap.train.examples import Examples
from radcap.train.order import Order
from tests.conftest import png
from tests.models_for_tests import KEYS, PARAMS, shared
from tests.train.test_fit import trained

SIZES = [(40, 32), (32, 40), (96, 24), (24, 96), (128, 128), (200, 90), (33, 77), (16, 16)]
# Families whose images take more or fewer tokens by their size.
VARYING = {"llava_mistral_7b", "llava_vicuna_7b", "qwen2_vl_2b", "qwen2_5_vl_3b", "smolvlm_500m"}


@pytest.fixture(scope="module")
def sized(tmp_path_factory: pytest.TempPathFactory):
    """A row of each size; the captions' lengths run against the images'."""
    path: Path = tmp_path_factory.mktemp("rows") / "rows.arrow"
    made = []
    for i, (width, height) in enumerate(SIZES):
        text = "CT " * (1 + (5 * i) % 8)
        image = png(i, size=(width, height))
        made.append(store.Row(id=f"r{i}", image=image, caption=text, raw_caption=text, cuis=(), width=width, height=height, sha256=""))  # fmt: skip
    store.write(path, made)
    return store.read(path)


def examples(key: str, rows, *, limit: int = 64, cache: bool = True) -> Examples:
    prompt = fill(PARAMS.models[key].template, "Describe it.")
    return Examples(shared(key), rows, [prompt] * len(rows), max_caption_tokens=limit, cache=cache)


@pytest.mark.parametrize("limit", [64, 4])
@pytest.mark.parametrize("key", KEYS)
def test_lengths_are_those_of_the_encoded_examples_but_for_what_all_share(key: str, limit: int, sized) -> None:
    made = examples(key, sized, limit=limit)
    true = [example[shared(key).family.ids].shape[1] for example in made]
    assert len({t - length for t, length in zip(true, made.lengths, strict=True)}) == 1
    images = {t - min(caption, limit) for t, caption in zip(true, made.caption_lengths, strict=True)}
    assert (len(images) > 1) == (key in VARYING)


@pytest.mark.parametrize("key", KEYS)
def test_a_long_caption_is_cut_and_counted_and_its_image_and_prompt_are_not(key: str, sized) -> None:
    whole, cut = examples(key, sized), examples(key, sized, limit=3)
    longer = [length > 3 for length in whole.caption_lengths]
    assert cut.cut_captions() == sum(longer) > 0
    assert whole.cut_captions() == 0
    for long, one, other in zip(longer, whole, cut, strict=True):
        kept = int((other["labels"] == -100).sum())
        assert kept == int((one["labels"] == -100).sum())
        ids = shared(key).family.ids
        assert torch.equal(one[ids][:, :kept], other[ids][:, :kept])
        assert (other[ids].shape[1] == kept + 3) if long else torch.equal(one[ids], other[ids])


def test_what_is_kept_in_memory_is_what_is_made_again(sized) -> None:
    kept, made = examples("smolvlm_500m", sized), examples("smolvlm_500m", sized, cache=False)
    for _ in range(2):
        for one, other in zip(kept, made, strict=True):
            assert one.keys() == other.keys()
            assert all(torch.equal(one[name], other[name]) for name in one)
    assert kept.kept is not None and len(kept.kept) == len(sized)
    assert made.kept is None


def test_batches_hold_examples_of_similar_length_in_another_order_each_epoch() -> None:
    lengths = [7, 1, 5, 3, 8, 2, 6, 4] * 12
    order = Order(lengths, batch_size=4, seed=1)
    first, second = list(order), list(order)
    assert sorted(first) == sorted(second) == list(range(96))
    assert first != second
    spread = [
        max(lengths[i] for i in first[k : k + 4]) - min(lengths[i] for i in first[k : k + 4]) for k in range(0, 96, 4)
    ]
    assert sum(spread) / len(spread) < 2
    # A run that goes on in the second epoch has its order; another seed has another one.
    assert list(Order(lengths, batch_size=4, seed=1, first_epoch=1)) == second
    assert list(Order(lengths, batch_size=4, seed=2)) != first


@pytest.mark.parametrize("key", ["qwen2_vl_2b", pytest.param("cnn_transformer", marks=pytest.mark.slow)])
def test_workers_change_nothing(key: str, sized) -> None:
    alone, _ = trained(key, sized, workers=0)
    helped, _ = trained(key, sized, workers=2)
    assert helped == alone
