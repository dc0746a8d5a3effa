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
    wanted = predicting(labels)
    logits = outputs.logits if outputs.logits.ndim == 2 else outputs.logits[wanted]
    following = labels.roll(-1, dims=1)[wanted]
    total = cross_entropy(logits.float(), following, reduction="sum")
    return total / (len(following) if num_items_in_batch is None else num_items_in_batch)
