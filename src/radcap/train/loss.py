"""The one loss of all models."""

from typing import Any

import torch
from torch.nn.functional import cross_entropy

IGNORED = -100


def caption_loss(
    outputs: Any, labels: torch.Tensor, num_items_in_batch: torch.Tensor | int | None = None
) -> torch.Tensor:
    """Cross-entropy of the caption's tokens (its end included), summed, over the tokens of the whole optimizer batch.

    labels: (batch, length), IGNORED where prompt, image and padding stand; position t is predicted at t - 1.
    num_items_in_batch: labelled tokens in all micro-batches of the step; None: those of this batch.
    """
    logits = outputs.logits[:, :-1].float()
    following = labels[:, 1:]
    total = cross_entropy(
        logits.reshape(-1, logits.shape[-1]), following.reshape(-1), ignore_index=IGNORED, reduction="sum"
    )
    count = (following != IGNORED).sum() if num_items_in_batch is None else num_items_in_batch
    return total / count
