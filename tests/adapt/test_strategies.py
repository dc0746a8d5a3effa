"""Which modules each strategy adapts, as a truth table of (component.kind) per family and strategy."""

import pytest

from radcap.adapt.strategies import resolve_targets
from radcap.errors import UserError
from radcap.models.family import Module
from radcap.settings import PublishedRow
from tests.models_for_tests import LORA_KEYS, PARAMS, shared

QKV = ("query", "key", "value")
GATED = ("gate", "up", "down")
PLAIN = ("fc1", "fc2")


def selectors(component: str, *kinds: str) -> set[str]:
    return {f"{component}.{kind}" for kind in kinds}


LINEAR = {"connector.linear"}
# What each strategy adapts, per architecture. hybrid adapts the same modules as targeted.
GATED_LANGUAGE = {
    "targeted": selectors("language", *QKV, *GATED),
    "extended": selectors("language", *QKV, *GATED, "output"),
}
PLAIN_VISION = {"targeted": selectors("vision", *QKV), "extended": selectors("vision", *QKV, "output", *PLAIN)}
FUSED_VISION = {"targeted": {"vision.qkv"}, "extended": {"vision.qkv", "vision.output", "vision.fc1", "vision.fc2"}}
FUSED_GATED_VISION = {
    "targeted": {"vision.qkv", *selectors("vision", *GATED)},
    "extended": {"vision.qkv", "vision.output", *selectors("vision", *GATED)},
}
PHI = {"targeted": selectors("language", *QKV), "extended": selectors("language", *QKV, "output", *PLAIN)}
# IDEFICS' connector consists of a perceiver and gated cross-attention layers.
CROSS = selectors("connector", *QKV, "output", *GATED, *PLAIN)


def rules(language: dict[str, set[str]], vision: dict[str, set[str]], connector: set[str]) -> dict[str, set[str]]:
    both = {strategy: language[strategy] | vision[strategy] | connector for strategy in ("targeted", "extended")}
    return both | {"hybrid": both["targeted"]}


FAMILIES = {
    ("llava", "llava"): rules(GATED_LANGUAGE, PLAIN_VISION, LINEAR),
    ("llava", "llava_next"): rules(GATED_LANGUAGE, PLAIN_VISION, LINEAR),
    ("idefics", "idefics"): rules(GATED_LANGUAGE, PLAIN_VISION, CROSS),
    ("qwen_vl", "qwen2_vl"): rules(GATED_LANGUAGE, FUSED_VISION, LINEAR),
    ("qwen_vl", "qwen2_5_vl"): rules(GATED_LANGUAGE, FUSED_GATED_VISION, LINEAR),
    ("moondream", "moondream"): rules(PHI, PLAIN_VISION, LINEAR),
    ("smolvlm", "idefics3"): rules(GATED_LANGUAGE, PLAIN_VISION, LINEAR),
}
ALL_LANGUAGE = GATED_LANGUAGE["extended"]
PUBLISHED = {
    "llava_mistral_7b": GATED_LANGUAGE["targeted"] | PLAIN_VISION["targeted"],
    "llava_vicuna_7b": GATED_LANGUAGE["targeted"] | PLAIN_VISION["targeted"] | LINEAR,
    "llava_1_5_7b": ALL_LANGUAGE | PLAIN_VISION["targeted"],
    "idefics_9b": {f"{part}.{kind}" for part in ("language", "vision", "connector") for kind in QKV},
    "qwen2_vl_2b": ALL_LANGUAGE,
    "qwen2_5_vl_3b": ALL_LANGUAGE,
    "moondream2": selectors("language", *QKV, *PLAIN) | selectors("vision", "output", *PLAIN) | LINEAR,
    "smolvlm_500m": ALL_LANGUAGE | PLAIN_VISION["extended"] | LINEAR,
}
RULES = {
    key: FAMILIES[PARAMS.models[key].family, PARAMS.models[key].miniature.model_type] | {"published": PUBLISHED[key]}
    for key in LORA_KEYS
}
TABLE = [
    (key, strategy, RULES[key][strategy])
    for key in LORA_KEYS
    for strategy in ("published", "targeted", "extended", "hybrid")
]


@pytest.mark.parametrize("vision_tower", [True, False])
@pytest.mark.parametrize(("key", "strategy", "expected"), TABLE)
def test_truth_table(key: str, strategy: str, expected: set[str], vision_tower: bool) -> None:
    inventory = shared(key).family.inventory(shared(key).model)
    row = PARAMS.models[key].published
    assert row is not None
    if strategy != "published" and not vision_tower:
        expected = {selector for selector in expected if not selector.startswith("vision.")}
    targets = resolve_targets(strategy, inventory, published=row, vision_tower=vision_tower)
    by_name = {module.name: module for module in inventory}
    assert {by_name[name].selector for name in targets.lora} == expected
    # Every module of a named kind in every layer, and no other.
    assert set(targets.lora) == {module.name for module in inventory if module.selector in expected}
    full = {by_name[name].component for name in targets.full}
    assert full == ({"head", "embeddings"} if strategy == "hybrid" else set())


@pytest.mark.parametrize("key", LORA_KEYS)
def test_every_module_has_a_component_and_a_kind(key: str) -> None:
    inventory = shared(key).family.inventory(shared(key).model)
    assert [module for module in inventory if "other" in (module.component, module.kind)] == []


def test_a_selector_without_any_match_is_an_error() -> None:
    inventory = (Module("a.q_proj", "language", "query", 2, 2, 4), Module("head", "head", "linear", 2, 2, 4))
    row = PublishedRow(r=1, alpha=1, targets=("language.query", "vision.query"))
    with pytest.raises(UserError, match=r"'published' matches no module of this model for vision.query"):
        resolve_targets("published", inventory, published=row, vision_tower=True)
    with pytest.raises(UserError, match="'targeted' matches no module of this model for connector, vision"):
        resolve_targets("targeted", inventory, published=row, vision_tower=True)
