"""Activations that training keeps for the backward pass, from a model's modules.

Counted operation by operation as Korthikanti et al. 2022 (Reducing Activation Recomputation in Large Transformer
Models, section 4.1) do, for what fine-tuning changes: frozen weights keep no inputs, fused attention (sdpa, flash)
keeps no scores, gated MLPs keep three tensors, and peft's adapters keep an input of their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from radcap.adapt.strategies import Targets
from radcap.models.family import Module
from radcap.plan.positions import Positions

# Norms of models with gated MLPs (RMSNorm) compute in float32 and keep that copy.
FLOAT32 = 4
# Dropout's mask on a GPU, where it is boolean.
MASK = 1
# Attention keeps query, key, value and its result; under padding keys and values are repeated for all heads.
ATTENTION = 4
# A fused projection gives query, key and value at once; its result comes on top.
FUSED = ATTENTION / 3
# A gate's output, its activation, and the product's other half, which is counted with the module `up`.
GATE = 2
# Tensors that an activation function keeps; all others keep their input alone.
ACTIVATIONS = {"quick_gelu": 2, "gelu_new": 4}

# In the order of the forward pass.
STAGES = ("vision", "connector", "language", "head")
# The part's field of Positions.
COUNTS = {"vision": "vision", "connector": "connector", "language": "language", "head": "label"}
# IDEFICS' cross-attention belongs to the connector, and stands between the language model's layers.
_AMONG_LANGUAGE = re.compile(r"\.gated_cross_attn_layers\.")


@dataclass(frozen=True)
class AdapterOptions:
    """What decides an adapter's activations."""

    r: int
    dropout: float
    dora: bool = False


def activation_bytes(
    inventory: Iterable[Module],
    targets: Targets,
    adapters: AdapterOptions,
    *,
    config: Any,
    positions: Positions,
    batch: int,
    element: int,
) -> dict[str, float]:
    """Bytes that a batch keeps for the backward pass in each part of the forward pass, logits aside.

    element: bytes a number of the base's activations. The graph begins at the first part in which something trains:
    what lies before keeps nothing and is absent.
    """
    modules = tuple(inventory)
    lora, full = frozenset(targets.lora), frozenset(targets.full)
    first = min(STAGES.index(stage(m)) for m in modules if m.name in lora or m.name in full)
    gated = frozenset(stage(m) for m in modules if m.kind == "gate")
    stored = dict.fromkeys(STAGES[first:], 0.0)
    for module in modules:
        part = stage(module)
        if part not in stored or module.kind == "embedding":
            continue
        norm = FLOAT32 if part in gated else element
        each = base_bytes(module, element=element, norm=norm, activation=_activation(config, part))
        if module.name in lora:
            each += adapter_bytes(module, adapters, element=element)
        if module.name in full:
            each += module.inputs * element
        count = getattr(positions, COUNTS[part])
        if part == "connector" and module.kind in ("key", "value"):
            each, count = each + module.outputs * element, positions.context
        stored[part] += each * count * batch
        if module.name in lora and adapters.dora:
            # DoRA gets the adapter's weight as its answer to the unit matrix, which is kept as its input.
            stored[part] += module.inputs**2 * FLOAT32
    return stored


def checkpointed_bytes(
    stored: dict[str, float], inventory: Iterable[Module], *, positions: Positions, batch: int, element: int
) -> float:
    """What stays of `kept` under activation checkpointing by layers (Chen et al. 2016): each layer's input, and all of
    the one layer that runs again."""
    again, total = 0.0, 0.0
    for part, size in stored.items():
        widths = [m.inputs for m in inventory if stage(m) == part and m.kind in ("query", "qkv")]
        if part in ("vision", "language") and widths:
            total += sum(widths) * getattr(positions, COUNTS[part]) * batch * element
            again = max(again, size / len(widths))
        else:
            total += size
    return total + again


def stage(module: Module) -> str:
    """The part of the forward pass that a module belongs to; embeddings are where the language model begins."""
    if module.component == "embeddings" or _AMONG_LANGUAGE.search(module.name):
        return "language"
    return module.component


def base_bytes(module: Module, *, element: int, norm: int, activation: int) -> float:
    """Bytes per position kept around a frozen module, each operation's share at the module that feeds it.

    norm: bytes a number of the layer norm before an attention or MLP, counted where its first projection is.
    activation: tensors that the activation function of an MLP without gate keeps.
    """
    inputs, outputs = module.inputs, module.outputs
    of_kind: dict[str, float] = {
        "query": inputs * norm + ATTENTION * outputs * element,
        "qkv": inputs * norm + FUSED * outputs * element,
        "gate": inputs * norm + GATE * outputs * element,
        "up": outputs * element,
        "fc1": inputs * norm + activation * outputs * element,
        # A connector's: what the function after it keeps. What comes after the head are the logits, told apart.
        "linear": 0.0 if module.component == "head" else outputs * element,
    }
    return of_kind.get(module.kind, 0.0)


def adapter_bytes(module: Module, adapters: AdapterOptions, *, element: int) -> float:
    """Bytes per position that peft's float32 adapter keeps: its input cast to float32, dropout's mask, A's output;
    with DoRA both results, the base's and the adapter's, too."""
    stored = module.inputs * FLOAT32 + adapters.r * FLOAT32
    if adapters.dropout:
        stored += module.inputs * MASK
    if adapters.dora:
        stored += module.outputs * (element + FLOAT32)
    return stored


def _activation(config: Any, part: str) -> int:
    half = {"vision": "vision_config", "connector": "vision_config"}.get(part, "text_config")
    name = getattr(getattr(config, half, config), "hidden_act", "")
    return ACTIVATIONS.get(name, 1)
