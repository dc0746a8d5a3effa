"""Weights for a miniature to start from."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedModel

POSITION_STD = 0.5


def draw_weights(model: PreTrainedModel) -> None:
    """Redraw weights for small widths: linear and convolution weights with fan_in ** -0.5, image positions with 0.5.

    The published classes draw all with 0.02, fit for widths of thousands. At widths of a hundred signals fade
    from layer to layer, positions drown beside the patches, and a short training never looks at the picture.
    """
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.normal_(module.weight, std=module.weight[0].numel() ** -0.5)
        elif isinstance(module, Conv1D):
            nn.init.normal_(module.weight, std=module.weight.shape[0] ** -0.5)
    for name, parameter in model.named_parameters():
        if "position_embedding" in name:
            nn.init.normal_(parameter, std=POSITION_STD)
