"""Sizes and token ids of MoonDream2."""

from __future__ import annotations

from typing import Any

from transformers import PhiConfig, PreTrainedConfig, SiglipVisionConfig
from transformers.configuration_utils import SubConfigSpec

# Of the published weights. SigLIP's own epsilon is 1e-6, and it has a pooling head.
VISION = {
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_hidden_layers": 27,
    "num_attention_heads": 16,
    "image_size": 378,
    "patch_size": 14,
    "hidden_act": "gelu_pytorch_tanh",
    "layer_norm_eps": 1e-5,
    "vision_use_head": False,
}
# PhiConfig's own values are those of Phi-1.5, but for its token ids.
END = 50256


class MoondreamConfig(PreTrainedConfig):  # type: ignore[misc]
    """Sizes of a model; the defaults are those of the published weights of March to May 2024.

    views: 1, the projection sees the whole image; 2 (since 2024-05-20), also its tiles, side by side on the channels.
    projection_size: width of the projection's hidden layer.
    image_token_id: stands where an image's embeddings go; None: the vocabulary's last row, which no text uses.
    """

    model_type = "moondream"
    sub_configs_defaults = {
        "vision_config": SubConfigSpec(SiglipVisionConfig, init_kwargs=VISION),
        "text_config": SubConfigSpec(PhiConfig),
    }

    vision_config: Any = None
    text_config: Any = None
    views: int = 1
    projection_size: int = 8192
    image_token_id: Any = None
    bos_token_id: int = END
    eos_token_id: int = END
    pad_token_id: int = END
    tie_word_embeddings: bool = False

    def __post_init__(self, **kwargs: Any) -> None:
        # Kept, the published name would make a saved model pass for a published checkpoint.
        kwargs.pop("model_type", None)
        super().__post_init__(**kwargs)
        if self.views not in (1, 2):
            raise ValueError(f"views is {self.views}; allowed: 1, 2")
        if self.image_token_id is None:
            self.image_token_id = self.text_config.vocab_size - 1
        # The text's padding stays unset: an embedding's padding row does not train, and here it is the first token's.
        self.text_config.bos_token_id, self.text_config.eos_token_id = self.bos_token_id, self.eos_token_id

    @property
    def positions(self) -> int:
        """Embeddings of an image."""
        return int((self.vision_config.image_size // self.vision_config.patch_size) ** 2)
