"""What the sample's BLEURT and AlignScore share: sizes, weights to start from, and the training on caption pairs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from radcap.metrics.miniatures.pairs import Pair, make_pairs
from radcap.metrics.miniatures.signals import Batch, Example, Signals, collate
from radcap.metrics.miniatures.training import BATCH, batches, descend
from radcap.models.initialization import initialize_weights

WIDTH, LAYERS, HEADS = 64, 2, 4
SIZES: dict[str, Any] = {
    "hidden_size": WIDTH,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "intermediate_size": 2 * WIDTH,
    "hidden_act": "gelu",
}
PAIRS, RATE = 12_000, 0.005
# Positions and types start far below words, and queries equal to keys: a token first attends to its equals.
POSITION_STD, TYPE_STD, QUERY_SCALE = 0.03, 0.1, 1.4

Reader = Callable[[Batch], tuple[Tensor, Tensor]]


def draw_pairs(rng: np.random.Generator, *, steps: int) -> list[Pair]:
    """The pairs to train on: PAIRS of them, or as many as that many steps see."""
    return make_pairs(rng, min(PAIRS, steps * BATCH))


def start(model: nn.Module) -> None:
    """Weights to start from, and no dropout."""
    initialize_weights(model)
    for name, module in model.named_modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        elif isinstance(module, nn.Embedding) and name.endswith(("position_embeddings", "token_type_embeddings")):
            nn.init.normal_(module.weight, std=POSITION_STD if "position" in name else TYPE_STD)
        elif name.endswith("attention.self"):
            attention: Any = module
            with torch.no_grad():
                attention.key.weight.copy_(attention.query.weight.mul_(QUERY_SCALE))


def fit(
    model: nn.Module,
    read: Reader,
    examples: Sequence[Example],
    rng: np.random.Generator,
    *,
    steps: int,
    pad: int,
    label: str,
) -> None:
    """Train in place; `read` gives the last hidden states and the score's own loss."""
    signals = Signals(WIDTH)
    drawn = batches([len(example.ids) for example in examples], rng)

    def loss() -> Tensor:
        batch = collate([examples[index] for index in next(drawn)], pad=pad)
        hidden, own = read(batch)
        beside: Tensor = signals(hidden, batch)
        return own + beside

    descend([*model.parameters(), *signals.parameters()], loss, steps=steps, rate=RATE, label=label)
