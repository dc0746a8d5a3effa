"""Full-size counts against the published checkpoints', and adapters' against peft's on miniatures."""

from functools import cache

import pytest

from radcap.adapt.lora import add_lora
from radcap.adapt.strategies import Targets, resolve_targets
from radcap.errors import UserError
from radcap.models.family import Module
from radcap.plan import sizes
from radcap.settings import Lora
from tests.models_for_tests import LORA_KEYS, PARAMS, fresh

# What the published configurations give; the study's 210M for vision_gpt2 leave its cross-attention out.
TOTALS = {
    "llava_mistral_7b": 7_566_747_648,
    "llava_vicuna_7b": 7_063_431_168,
    "llava_1_5_7b": 7_063_427_072,
    "idefics_9b": 8_929_687_824,
    "qwen2_vl_2b": 2_208_985_600,
    "qwen2_5_vl_3b": 3_754_622_976,
    "moondream2": 1_857_482_608,
    "smolvlm_500m": 507_482_304,
    "vision_gpt2": 239_195_904,
    "cnn_transformer": 48_215_424,
}
# The exact counts behind the study's Table 3, and the others' as the rows of params.yaml read it.
PUBLISHED = {
    "llava_mistral_7b": 40_108_032,
    "llava_vicuna_7b": 38_354_944,
    "llava_1_5_7b": 84_672_512,
    "idefics_9b": 19_750_912,
    "qwen2_vl_2b": 55_394_304,
    "qwen2_5_vl_3b": 59_867_136,
    "moondream2": 74_422_272,
    "smolvlm_500m": 46_198_784,
}


@cache
def full(key: str) -> sizes.Sizes:
    return sizes.sizes(key, PARAMS.models[key].family)


def test_every_model_has_a_full_size_configuration() -> None:
    assert set(sizes.known_models()) == TOTALS.keys() >= PARAMS.models.keys()


@pytest.mark.parametrize("key", PARAMS.models)
def test_totals(key: str) -> None:
    assert full(key).total == TOTALS[key]
    assert full(key).components.keys() == set(sizes.COMPONENTS)


@pytest.mark.parametrize("key", LORA_KEYS)
def test_the_published_rows_count(key: str) -> None:
    row = PARAMS.models[key].published
    assert row is not None
    chosen = resolve_targets("published", full(key).inventory, published=row, vision_tower=True)
    assert sizes.trained_parameters(full(key).inventory, chosen, r=row.r) == PUBLISHED[key]


@pytest.mark.parametrize("dora", [False, True])
@pytest.mark.parametrize("strategy", ["published", "targeted", "extended", "hybrid"])
@pytest.mark.parametrize("key", LORA_KEYS)
def test_counts_are_those_of_peft(key: str, strategy: str, dora: bool) -> None:
    loaded, row = fresh(key), PARAMS.models[key].published
    assert row is not None
    counted = sizes.count_parameters(loaded.family, loaded.model)
    assert counted.total == sum(p.numel() for p in loaded.model.parameters())
    lora = Lora(**PARAMS.lora.model_dump() | {"strategy": strategy, "r": 4, "dropout": 0.0, "dora": dora})
    model, chosen = add_lora(loaded, lora, row)
    expected = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert sizes.trained_parameters(counted.inventory, chosen, r=4, dora=dora, tied=counted.tied) == expected


def test_shared_weights_count_once() -> None:
    inventory = (Module("embed", "embeddings", "embedding", 10, 4, 40), Module("head", "head", "linear", 4, 10, 40))
    chosen = Targets(lora=(), full=("embed", "head"))
    assert sizes.trained_parameters(inventory, chosen, r=1) == 80
    assert sizes.trained_parameters(inventory, chosen, r=1, tied=frozenset({"head"})) == 40


def test_a_model_without_configuration_is_one_clear_line() -> None:
    with pytest.raises(
        UserError, match=r"^models.gpt5: no full-size configuration; known: cnn_transformer, idefics_9b"
    ):
        sizes.full_size("gpt5")
