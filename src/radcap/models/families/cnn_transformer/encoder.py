"""An image encoder for transformers: a DenseNet's feature map, read as a sequence by a small transformer.

The auto classes know it once this module is imported, so VisionEncoderDecoderModel builds, saves and loads it.
"""

from __future__ import annotations

from typing import Any

import torch
from monai.networks.nets.densenet import DenseNet
from torch import nn
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput
from transformers.models.vit.modeling_vit import ViTLayer
from transformers.utils.generic import can_return_tuple


class CnnEncoderConfig(PreTrainedConfig):  # type: ignore[misc]
    """A DenseNet (init_features, growth_rate, block_config) and the transformer on top, named as in ViTConfig.

    The defaults are DenseNet-121's, and those of the full-size cnn_transformer.
    """

    model_type = "radcap_cnn_encoder"

    image_size: int = 224
    init_features: int = 64
    growth_rate: int = 32
    block_config: list[int] | tuple[int, ...] = (6, 12, 24, 16)
    hidden_size: int = 512
    num_hidden_layers: int = 1
    num_attention_heads: int = 8
    intermediate_size: int = 1792
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.0
    attention_probs_dropout_prob: float = 0.0
    layer_norm_eps: float = 1e-6
    qkv_bias: bool = True
    initializer_range: float = 0.02

    @property
    def channels(self) -> int:
        """Channels of the feature map: a block adds growth_rate per layer, a transition keeps half."""
        channels = 2 * self.init_features
        for layers in self.block_config:
            channels = channels // 2 + layers * self.growth_rate
        return channels

    @property
    def positions(self) -> int:
        """Places of the feature map: the stem divides the side by 4 (rounded up), each transition by 2."""
        return int(-(-self.image_size // 4) // 2 ** (len(self.block_config) - 1)) ** 2


class CnnEncoder(PreTrainedModel):  # type: ignore[misc]
    """DenseNet features, ReLU, a projection to hidden_size, learned positions, transformer layers."""

    config_class = CnnEncoderConfig
    main_input_name = "pixel_values"
    input_modalities = ("image",)
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_flash_attn = True
    _no_split_modules = ["_DenseLayer", "ViTLayer"]

    def __init__(self, config: CnnEncoderConfig) -> None:
        super().__init__(config)
        self.densenet = densenet(config)
        self.projection = nn.Linear(config.channels, config.hidden_size)
        self.position_embedding = nn.Embedding(config.positions, config.hidden_size)
        self.layers = nn.ModuleList([ViTLayer(config) for _ in range(config.num_hidden_layers)])
        self.layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.post_init()

    @can_return_tuple  # type: ignore[untyped-decorator]
    def forward(self, pixel_values: torch.Tensor, **_: Any) -> BaseModelOutput:
        """(batch, 3, image_size, image_size) -> last_hidden_state (batch, positions, hidden_size).

        ValueError for pictures of another size.
        """
        features = torch.relu(self.densenet(pixel_values.to(self.dtype))).flatten(2).transpose(1, 2)
        if features.shape[1] != self.config.positions:
            side = self.config.image_size
            raise ValueError(f"pixels of shape {tuple(pixel_values.shape)}: the model takes {side} x {side}")
        hidden = self.projection(features) + self.position_embedding.weight
        for layer in self.layers:
            hidden = layer(hidden)
        return BaseModelOutput(last_hidden_state=self.layernorm(hidden))

    def train(self, mode: bool = True) -> CnnEncoder:
        """Training mode, but for a frozen DenseNet: its batch norms would go on to gather statistics."""
        super().train(mode)
        if not any(parameter.requires_grad for parameter in self.densenet.parameters()):
            self.densenet.eval()
        return self


def densenet(config: CnnEncoderConfig) -> nn.Sequential:
    """The features of MONAI's DenseNet up to its last norm, without the classifier: (batch, 3, h, w) -> a map."""
    whole = DenseNet(
        spatial_dims=2,
        in_channels=3,
        out_channels=1,
        init_features=config.init_features,
        growth_rate=config.growth_rate,
        block_config=config.block_config,
    )
    features: nn.Sequential = whole.features
    return features


AutoConfig.register(CnnEncoderConfig.model_type, CnnEncoderConfig)
AutoModel.register(CnnEncoderConfig, CnnEncoder)
