"""Examples: their lengths without opening an image, cut captions, the cache, and data loader processes."""

from pathlib import Path

import pytest
import torch

from radcap.data import store
from radcap.models.inputs import fill_template
from radcap.train.examples import Examples
from tests.conftest import png
from tests.models_for_tests import KEYS, PARAMS, shared
from tests.train.test_fit import trained

SIZES = [(40, 32), (32, 40), (96, 24), (24, 96), (128, 128), (200, 90), (33, 77), (16, 16)]
# Models for which the number of image tokens depends on the size of the image.
VARYING = {"llava_mistral_7b", "llava_vicuna_7b", "qwen2_vl_2b", "qwen2_5_vl_3b", "smolvlm_500m"}


@pytest.fixture(scope="module")
def sized(tmp_path_factory: pytest.TempPathFactory):
    """A row of each size. The lengths of the captions vary independently of those of the images."""
    path: Path = tmp_path_factory.mktemp("rows") / "rows.arrow"
    examples = []
    for i, (width, height) in enumerate(SIZES):
        text = "CT " * (1 + (5 * i) % 8)
        image = png(i, size=(width, height))
        examples.append(store.Row(id=f"r{i}", image=image, caption=text, raw_caption=text, cuis=(), width=width, height=height, sha256=""))  # fmt: skip
    store.write(path, examples)
    return store.read(path)


def examples(key: str, rows, *, limit: int = 64, cache: bool = True) -> Examples:
    prompt = fill_template(PARAMS.models[key].template, "Describe it.")
    return Examples(shared(key), rows, [prompt] * len(rows), max_caption_tokens=limit, cache=cache)


@pytest.mark.parametrize("limit", [64, 4])
@pytest.mark.parametrize("key", KEYS)
def test_lengths_are_those_of_the_encoded_examples_up_to_a_constant(key: str, limit: int, sized) -> None:
    dataset = examples(key, sized, limit=limit)
    true = [example[shared(key).family.ids_name].shape[1] for example in dataset]
    assert len({t - length for t, length in zip(true, dataset.lengths, strict=True)}) == 1
    images = {t - min(caption, limit) for t, caption in zip(true, dataset.caption_lengths, strict=True)}
    assert (len(images) > 1) == (key in VARYING)


@pytest.mark.parametrize("key", KEYS)
def test_a_long_caption_is_cut_and_counted_but_its_image_and_prompt_are_not(key: str, sized) -> None:
    whole, cut = examples(key, sized), examples(key, sized, limit=3)
    is_longer = [length > 3 for length in whole.caption_lengths]
    assert cut.cut_captions() == sum(is_longer) > 0
    assert whole.cut_captions() == 0
    for long, full, short in zip(is_longer, whole, cut, strict=True):
        unlabelled = int((short["labels"] == -100).sum())
        assert unlabelled == int((full["labels"] == -100).sum())
        ids = shared(key).family.ids_name
        assert torch.equal(full[ids][:, :unlabelled], short[ids][:, :unlabelled])
        assert (short[ids].shape[1] == unlabelled + 3) if long else torch.equal(full[ids], short[ids])


def test_cached_examples_equal_those_that_are_encoded_again(sized) -> None:
    cached, uncached = examples("smolvlm_500m", sized), examples("smolvlm_500m", sized, cache=False)
    for _ in range(2):
        for first, second in zip(cached, uncached, strict=True):
            assert first.keys() == second.keys()
            assert all(torch.equal(first[name], second[name]) for name in first)
    assert cached.cached is not None and len(cached.cached) == len(sized)
    assert uncached.cached is None


@pytest.mark.parametrize("key", ["qwen2_vl_2b", pytest.param("cnn_transformer", marks=pytest.mark.slow)])
def test_data_loader_processes_change_nothing(key: str, sized) -> None:
    without_workers, _ = trained(key, sized, workers=0)
    with_workers, _ = trained(key, sized, workers=2)
    assert with_workers == without_workers
