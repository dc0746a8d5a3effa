"""Batches of texts of similar length, and a BERT-like encoder that computes them without padding.

BLEURT and AlignScore read their result from the last hidden state of the first token alone. Padding and the other
tokens' last layer are about a third of what the forward pass of transformers computes for captions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

# Tokens per batch: enough to make matrix products efficient, few enough to fit a cache.
BATCH_TOKENS = {"cpu": 1024, "cuda": 16384}


class PackedEncoder:
    """An encoder over texts laid end to end. It shares the weights of the model that it is made from.

    `layers`: those of a RobertaModel or RemBertModel (post-norm; Devlin et al. 2019), in evaluation mode.
    """

    def __init__(self, layers: Sequence[Any]) -> None:
        self.layers = list(layers)
        self.heads = int(self.layers[0].attention.self.num_attention_heads)
        projections = [
            [layer.attention.self.query, layer.attention.self.key, layer.attention.self.value] for layer in layers
        ]
        self.weights = [torch.cat([projection.weight for projection in of_layer]) for of_layer in projections]
        self.biases = [torch.cat([projection.bias for projection in of_layer]) for of_layer in projections]

    @torch.inference_mode()
    def first_states(self, embedded: Tensor, lengths: Sequence[int]) -> Tensor:
        """The last hidden state of each text's first token: (texts, width).

        `embedded`: (texts, tokens, width), padded at the end. Texts of equal length must be neighbours.
        """
        starts = torch.tensor([0, *lengths], device=embedded.device).cumsum(0)[:-1]
        hidden = torch.cat([row[:length] for row, length in zip(embedded, lengths, strict=True)])
        for layer, weight, bias in zip(self.layers[:-1], self.weights, self.biases, strict=False):
            query, key, value = linear(hidden, weight, bias).chunk(3, dim=1)
            hidden = _feed_forward(layer, self._attend(query, key, value, lengths), hidden)
        width = hidden.shape[1]
        key, value = linear(hidden, self.weights[-1][width:], self.biases[-1][width:]).chunk(2, dim=1)
        first = hidden[starts]
        query = linear(first, self.weights[-1][:width], self.biases[-1][:width])
        return _feed_forward(self.layers[-1], self._attend(query, key, value, lengths), first)

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, lengths: Sequence[int]) -> Tensor:
        """Attention within each text. `query` holds all tokens, or one token per text."""
        outputs, start, text = [], 0, 0
        has_all_tokens = len(query) == len(key)
        for length, group in groupby(lengths):
            count = sum(1 for _ in group)
            rows = slice(start, start + count * length)
            queries = query[rows] if has_all_tokens else query[text : text + count]
            width = query.shape[1] // self.heads
            q, k, v = (
                part.reshape(count, -1, self.heads, width).transpose(1, 2) for part in (queries, key[rows], value[rows])
            )
            # Written out as in transformers' default: the last digits of a fused kernel deviate twice as far.
            weights = (q @ k.transpose(2, 3) / width**0.5).softmax(-1)
            outputs.append((weights @ v).transpose(1, 2).reshape(len(queries), -1))
            start, text = rows.stop, text + count
        return torch.cat(outputs)


def _feed_forward(layer: Any, attended: Tensor, hidden: Tensor) -> Tensor:
    """The part of a layer that follows its attention."""
    hidden = layer.attention.output(attended, hidden)
    return layer.output(layer.intermediate(hidden), hidden)  # type: ignore[no-any-return]


def token_batches(lengths: Sequence[int], *, max_tokens: int) -> Iterator[list[int]]:
    """Indices of texts in batches of up to `max_tokens` tokens, longest first. Equal lengths keep their order."""
    batch: list[int] = []
    tokens = 0
    for index in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
        if batch and tokens + lengths[index] > max_tokens:
            yield batch
            batch, tokens = [], 0
        batch.append(index)
        tokens += lengths[index]
    if batch:
        yield batch
