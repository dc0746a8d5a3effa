"""The one loss of all models."""

from typing import Any

import torch
from torch.nn.functional import cross_entropy

IGNORED = -100


def predicting(labels: torch.Tensor) -> torch.Tensor:
    """Where logits are needed: (batch, length), true at the positions whose next token is labelled."""
    wanted = torch.zeros_like(labels, dtype=torch.bool)
    wanted[:, :-1] = labels[:, 1:] != IGNORED
    return wanted


def caption_loss(
    outputs: Any, labels: torch.Tensor, num_items_in_batch: torch.Tensor | int | None = None
) -> torch.Tensor:
    """Cross-entropy of the caption's tokens (its end included), summed, over the tokens of the whole optimizer batch.

    labels: (batch, length), IGNORED where prompt, image and padding stand; position t is predicted at t - 1.
    outputs.logits: (batch, length, vocabulary), or (labelled tokens, vocabulary) of a model that was told to answer
    at `predicting(labels)` alone.
    num_items_in_batch: labelled tokens in all micro-batches of the step; None: those of this batch.
    """
    logits, following = _pairs(outputs, labels)
    total = cross_entropy(logits, following, reduction="sum")
    return total / (len(following) if num_items_in_batch is None else num_items_in_batch)


def sums(outputs: Any, labels: torch.Tensor) -> torch.Tensor:
    """Each example's summed cross-entropy and number of labelled tokens: (batch, 2)."""
    logits, following = _pairs(outputs, labels)
    rows = predicting(labels).nonzero()[:, 0]
    losses = cross_entropy(logits, following, reduction="none")
    pairs = torch.stack([losses, torch.ones_like(losses)], dim=1)
    return pairs.new_zeros(len(labels), 2).index_add_(0, rows, pairs)


def _pairs(outputs: Any, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits in float32 (labelled tokens, vocabulary), and the tokens that they should give."""
    wanted = predicting(labels)
    logits = outputs.logits if outputs.logits.ndim == 2 else outputs.logits[wanted]
    return logits.float(), labels.roll(-1, dims=1)[wanted]
