"""Weights for a miniature to start from."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedModel

POSITION_STD = 0.5
# What an attention or an MLP adds to the stream of hidden states starts this much smaller, so that the tokens and
# patches themselves are not drowned (the idea of GPT-2's 1 / sqrt(2 * layers), Radford et al. 2019).
RESIDUAL_SHARE = 0.3
RESIDUAL = re.compile(r"\.(o_proj|out_proj|self_attn\.dense|attn\.proj|down_proj|mlp\.fc2|layers\.\d+\.fc2|c_proj)$")


def initialize_weights(model: PreTrainedModel) -> None:
    """Redraw weights for small widths: linear and convolution weights with fan_in ** -0.5, those that write to the
    stream of hidden states smaller; embeddings and a resampler's latents with width ** -0.5, image positions with 0.5.

    The published classes draw all with 0.02, fit for widths of thousands. At widths of a hundred signals fade
    from layer to layer, positions drown beside the patches, and a short training never looks at the picture.
    """
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    for name, module in model.named_modules():
        share = RESIDUAL_SHARE if RESIDUAL.search(name) else 1.0
        if isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.normal_(module.weight, std=share * module.weight[0].numel() ** -0.5)
        elif isinstance(module, Conv1D):
            nn.init.normal_(module.weight, std=share * module.weight.shape[0] ** -0.5)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=module.weight.shape[1] ** -0.5)
            if module.padding_idx is not None:
                nn.init.zeros_(module.weight[module.padding_idx])
    for name, parameter in model.named_parameters():
        if "position_embedding" in name:
            nn.init.normal_(parameter, std=POSITION_STD)
        elif name.endswith("perceiver_resampler.latents"):
            # Larger ones drown what the resampler reads of the picture.
            nn.init.normal_(parameter, std=parameter.shape[-1] ** -0.5)
