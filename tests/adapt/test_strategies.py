"""Which modules each strategy adapts, as a truth table of (component.kind) per family and strategy."""

import pytest

from radcap.adapt.strategies import targets
from radcap.errors import UserError
from radcap.models.family import Module
from radcap.settings import PublishedRow
from tests.models_for_tests import LORA_KEYS, PARAMS, shared

QKV = ("query", "key", "value")
GATED = ("gate", "up", "down")
LANGUAGE = {"targeted": {*QKV, *GATED}, "extended": {*QKV, "output", *GATED}}
VISION = {"targeted": {*QKV}, "extended": {*QKV, "output", "fc1", "fc2"}}


def selectors(component: str, kinds: set[str]) -> set[str]:
    return {f"{component}.{kind}" for kind in kinds}


# llava and smolvlm: towers without gates, language models with gates, connectors of plain linear layers.
RULES = {
    "targeted": selectors("language", LANGUAGE["targeted"]) | selectors("vision", VISION["targeted"]) | {"connector.linear"},
    "extended": selectors("language", LANGUAGE["extended"]) | selectors("vision", VISION["extended"]) | {"connector.linear"},
}  # fmt: skip
RULES["hybrid"] = RULES["targeted"]
PUBLISHED = {
    "llava_1_5_7b": selectors("language", {*QKV, "output", *GATED}) | selectors("vision", {*QKV}),
    "smolvlm_500m": RULES["extended"],
}
TABLE = [
    (key, strategy, PUBLISHED[key] if strategy == "published" else RULES[strategy])
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
    chosen = targets(strategy, inventory, published=row, vision_tower=vision_tower)
    by_name = {module.name: module for module in inventory}
    assert {by_name[name].selector for name in chosen.lora} == expected
    # Every module of a named kind, in every layer, and none besides.
    assert set(chosen.lora) == {module.name for module in inventory if module.selector in expected}
    full = {by_name[name].component for name in chosen.full}
    assert full == ({"head", "embeddings"} if strategy == "hybrid" else set())


@pytest.mark.parametrize("key", LORA_KEYS)
def test_every_module_has_a_component_and_a_kind(key: str) -> None:
    inventory = shared(key).family.inventory(shared(key).model)
    assert [module for module in inventory if "other" in (module.component, module.kind)] == []


def test_a_selector_that_matches_nothing_is_an_error() -> None:
    inventory = (Module("a.q_proj", "language", "query", 4), Module("head", "head", "linear", 4))
    row = PublishedRow(r=1, alpha=1, targets=("language.query", "vision.query"))
    with pytest.raises(UserError, match=r"'published' matches no module of this model for vision.query"):
        targets("published", inventory, published=row, vision_tower=True)
    with pytest.raises(UserError, match="'targeted' matches no module of this model for connector, vision"):
        targets("targeted", inventory, published=row, vision_tower=True)
