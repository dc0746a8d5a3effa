"""Parameters of a model at full size, and how many of them a strategy trains.

The configurations lie in radcap/models/full_size; models are built on the meta device, without weights or network.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Set
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from typing import TYPE_CHECKING, Any, get_args

from radcap.adapt.strategies import Targets
from radcap.errors import UserError
from radcap.models.family import Family, Module, get_family
from radcap.settings import Component

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

COMPONENTS: tuple[str, ...] = get_args(Component)
_FOLDER = resources.files("radcap.models") / "full_size"


@dataclass(frozen=True)
class Sizes:
    """A model's modules and its parameters per component; a shared weight counts once, where it comes first.

    `tied` names the modules whose weight is an earlier module's.
    """

    config: PreTrainedConfig
    inventory: tuple[Module, ...]
    components: dict[str, int]
    tied: frozenset[str]

    @cached_property
    def total(self) -> int:
        return sum(self.components.values())


def known_models() -> tuple[str, ...]:
    """The models that have a full-size configuration."""
    return tuple(sorted(place.name[:-5] for place in _FOLDER.iterdir() if place.name.endswith(".json")))


def full_size(key: str) -> dict[str, Any]:
    """A model's full-size configuration as config.json would hold it. UserError where there is none."""
    if key not in known_models():
        raise UserError(f"models.{key}: no full-size configuration; known: {', '.join(known_models())}")
    tree: dict[str, Any] = json.loads((_FOLDER / f"{key}.json").read_text(encoding="utf-8"))
    return tree


def build_on_meta(adapter: Family, tree: dict[str, Any]) -> PreTrainedModel:
    """The model of a configuration with shapes alone: it takes no memory to speak of."""
    import torch

    with torch.device("meta"):
        return adapter.build(adapter.config(tree))


def sizes(key: str, family_name: str) -> Sizes:
    """Build a model at full size on the meta device, count, and let it go."""
    adapter = get_family(family_name)
    return count_parameters(adapter, build_on_meta(adapter, full_size(key)))


def count_parameters(adapter: Family, model: PreTrainedModel) -> Sizes:
    """Parameters of any model of a family."""
    components: Counter[str] = Counter(dict.fromkeys(COMPONENTS, 0))
    # named_parameters passes over a weight that it has met.
    for name, parameter in model.named_parameters():
        components[adapter.component(name) or "other"] += parameter.numel()
    inventory = adapter.inventory(model)
    weights: dict[int, str] = {}
    for module in inventory:
        weights.setdefault(id(model.get_parameter(f"{module.name}.weight")), module.name)
    tied = frozenset(m.name for m in inventory) - frozenset(weights.values())
    return Sizes(model.config, inventory, dict(components), tied)


def adapter_parameters(module: Module, *, r: int, dora: bool) -> int:
    """Parameters of one module's adapter: A (r x inputs) and B (outputs x r), Hu et al. 2021; DoRA's magnitudes."""
    return r * (module.inputs + module.outputs) + (module.outputs if dora else 0)


def trained_parameters(
    inventory: Iterable[Module], targets: Targets, *, r: int, dora: bool = False, tied: Set[str] = frozenset()
) -> int:
    """Parameters that train: adapters of rank `r`, and modules that train in full, a shared weight once."""
    lora, full = frozenset(targets.lora), frozenset(targets.full) - tied
    return sum(
        (adapter_parameters(module, r=r, dora=dora) if module.name in lora else 0)
        + (module.parameters if module.name in full else 0)
        for module in inventory
    )
