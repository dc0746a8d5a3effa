"""The loss that all models share."""

from typing import Any

import torch
from torch.nn.functional import cross_entropy

IGNORED = -100


def predicting_positions(labels: torch.Tensor) -> torch.Tensor:
    """Where logits are needed: boolean (batch, length), true where the next token is labelled."""
    mask = torch.zeros_like(labels, dtype=torch.bool)
    mask[:, :-1] = labels[:, 1:] != IGNORED
    return mask


def caption_loss(
    outputs: Any, labels: torch.Tensor, num_items_in_batch: torch.Tensor | int | None = None
) -> torch.Tensor:
    """Cross-entropy of the caption's tokens and its end token: the sum over the tokens of this micro-batch, divided by
    the number of tokens in the whole optimizer batch.

    labels: (batch, length), IGNORED at the prompt, the image and the padding; the logits at t - 1 predict position t.
    outputs.logits: (batch, length, vocabulary), or (labelled tokens, vocabulary) when the model computed logits only
    at `predicting_positions(labels)`.
    num_items_in_batch: labelled tokens in all micro-batches of the step; None: those of this micro-batch.
    """
    logits, targets = _logits_and_targets(outputs, labels)
    total = cross_entropy(logits, targets, reduction="sum")
    return total / (len(targets) if num_items_in_batch is None else num_items_in_batch)


def loss_sums(outputs: Any, labels: torch.Tensor) -> torch.Tensor:
    """The summed cross-entropy and the number of labelled tokens of each example: (batch, 2)."""
    logits, targets = _logits_and_targets(outputs, labels)
    rows = predicting_positions(labels).nonzero()[:, 0]
    losses = cross_entropy(logits, targets, reduction="none")
    pairs = torch.stack([losses, torch.ones_like(losses)], dim=1)
    return pairs.new_zeros(len(labels), 2).index_add_(0, rows, pairs)


def _logits_and_targets(outputs: Any, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits in float32 (labelled tokens, vocabulary), and the tokens that they predict."""
    mask = predicting_positions(labels)
    logits = outputs.logits if outputs.logits.ndim == 2 else outputs.logits[mask]
    return logits.float(), labels.roll(-1, dims=1)[mask]
