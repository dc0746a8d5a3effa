"""A BERT-like encoder over texts laid end to end, without padding, as far as the first token's last state needs it.

Scorers read a regression or a class from that state alone. Padding and the other tokens' last layer are about a third
of what transformers' own forward computes of captions. The weights stay those of the model that it is made from.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

# Tokens of a batch: enough for a matrix product to pay, few enough for a cache.
BATCH_TOKENS = {"cpu": 1024, "cuda": 16384}


class PackedEncoder:
    """`layers`: those of a RobertaModel or RemBertModel (post-norm; Devlin et al. 2019), in evaluation mode."""

    def __init__(self, layers: Sequence[Any]) -> None:
        self.layers = list(layers)
        self.heads = int(self.layers[0].attention.self.num_attention_heads)
        parts = [[layer.attention.self.query, layer.attention.self.key, layer.attention.self.value] for layer in layers]
        self.weights = [torch.cat([part.weight for part in three]) for three in parts]
        self.biases = [torch.cat([part.bias for part in three]) for three in parts]

    @torch.inference_mode()
    def first_states(self, embedded: Tensor, lengths: Sequence[int]) -> Tensor:
        """texts x width: the last hidden state of each text's first token.

        `embedded`: texts x tokens x width, padded at the end; equal `lengths` stand side by side.
        """
        starts = torch.tensor([0, *lengths], device=embedded.device).cumsum(0)[:-1]
        hidden = torch.cat([row[:length] for row, length in zip(embedded, lengths, strict=True)])
        for layer, weight, bias in zip(self.layers[:-1], self.weights, self.biases, strict=False):
            query, key, value = linear(hidden, weight, bias).chunk(3, dim=1)
            hidden = _rest(layer, self._attend(query, key, value, lengths), hidden)
        width = hidden.shape[1]
        key, value = linear(hidden, self.weights[-1][width:], self.biases[-1][width:]).chunk(2, dim=1)
        first = hidden[starts]
        query = linear(first, self.weights[-1][:width], self.biases[-1][:width])
        return _rest(self.layers[-1], self._attend(query, key, value, lengths), first)

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, lengths: Sequence[int]) -> Tensor:
        """Attention within each text; `query` holds all tokens, or one of each text."""
        found, at, text = [], 0, 0
        every = len(query) == len(key)
        for length, group in groupby(lengths):
            count = sum(1 for _ in group)
            rows = slice(at, at + count * length)
            asked = query[rows] if every else query[text : text + count]
            width = query.shape[1] // self.heads
            q, k, v = (
                part.reshape(count, -1, self.heads, width).transpose(1, 2) for part in (asked, key[rows], value[rows])
            )
            # Spelled out as transformers' default does: a fused kernel's last digits stray twice as far.
            shares = (q @ k.transpose(2, 3) / width**0.5).softmax(-1)
            found.append((shares @ v).transpose(1, 2).reshape(len(asked), -1))
            at, text = rows.stop, text + count
        return torch.cat(found)


def _rest(layer: Any, attended: Tensor, hidden: Tensor) -> Tensor:
    """What a layer does after its attention."""
    hidden = layer.attention.output(attended, hidden)
    return layer.output(layer.intermediate(hidden), hidden)  # type: ignore[no-any-return]


def batches(sizes: Sequence[int], *, budget: int) -> Iterator[list[int]]:
    """Numbers of texts in batches of up to `budget` tokens, longest first; equal sizes keep their order."""
    batch: list[int] = []
    tokens = 0
    for number in sorted(range(len(sizes)), key=lambda number: -sizes[number]):
        if batch and tokens + sizes[number] > budget:
            yield batch
            batch, tokens = [], 0
        batch.append(number)
        tokens += sizes[number]
    if batch:
        yield batch
