"""MoonDream2 (2024) of transformers' own parts: SigLIP ViT, two-layer projection, Phi-1.5."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn
from torch.nn.functional import avg_pool2d
from transformers import GenerationMixin, PhiForCausalLM, PreTrainedModel, SiglipVisionModel
from transformers.modeling_outputs import BaseModelOutputWithPooling, CausalLMOutputWithPast

from radcap.models.families.moondream.config import MoondreamConfig


class Projection(nn.Module):
    """From the vision tower's width to the language model's."""

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(inputs, hidden)
        self.act = nn.GELU(approximate="tanh")
        self.fc2 = nn.Linear(hidden, outputs)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        projected: torch.Tensor = self.fc2(self.act(self.fc1(features)))
        return projected


class Moondream(PreTrainedModel, GenerationMixin):  # type: ignore[misc]
    """The whole model. Image embeddings take the places of placeholder tokens in `input_ids`."""

    config_class = MoondreamConfig
    input_modalities = ("image", "text")
    supports_gradient_checkpointing = True
    _no_split_modules = ["SiglipEncoderLayer", "PhiDecoderLayer"]
    _skip_keys_device_placement = ["past_key_values"]
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True
    _can_compile_fullgraph = True

    def __init__(self, config: MoondreamConfig) -> None:
        super().__init__(config)
        width = config.vision_config.hidden_size
        self.vision_model = SiglipVisionModel(config.vision_config)
        self.projection = Projection(config.views * width, config.projection_size, config.text_config.hidden_size)
        self.text_model = PhiForCausalLM(config.text_config)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        embeddings: nn.Module = self.text_model.model.embed_tokens
        return embeddings

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.text_model.model.embed_tokens = value

    def get_output_embeddings(self) -> nn.Module:
        head: nn.Module = self.text_model.lm_head
        return head

    def set_output_embeddings(self, new_embeddings: nn.Module) -> None:
        self.text_model.lm_head = new_embeddings

    def get_image_features(
        self, pixel_values: torch.Tensor, image_grids: torch.Tensor | None = None, **_: Any
    ) -> BaseModelOutputWithPooling:
        """What the projection sees (last_hidden_state: batch, positions, views * width) and gives (pooler_output).

        pixel_values: (batch, tiles, 3, size, size), the whole image first, then its tiles row by row; zeros at the end.
        image_grids: (batch, 2), rows and columns of tiles; 1, 1 (also None) where there is but the whole image.
        """
        seen = self._encode(pixel_values, image_grids)
        return BaseModelOutputWithPooling(last_hidden_state=seen, pooler_output=self.projection(seen))

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        pixel_values: torch.Tensor | None = None,
        image_grids: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        past_key_values: Any = None,
        inputs_embeds: torch.Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | torch.Tensor = 0,
        mm_encoder_outputs: dict[str, BaseModelOutputWithPooling] | None = None,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast:
        """Logits (batch, length, vocabulary) after each of `input_ids` (batch, length).

        Images come as in get_image_features, or as its output in `mm_encoder_outputs["image"]`: generate encodes
        them once for all beams. ValueError: an example's placeholders are not as many as its image's embeddings.
        """
        images = (mm_encoder_outputs or {}).get("image")
        if images is None and pixel_values is not None:
            images = self.get_image_features(pixel_values, image_grids)
        if inputs_embeds is None and input_ids is not None:
            inputs_embeds = self.get_input_embeddings()(input_ids)
            if images is not None:
                inputs_embeds = self._with_images(input_ids, inputs_embeds, images.pooler_output)
        elif images is not None:
            raise ValueError("an image needs input_ids, not inputs_embeds: its place is where their placeholders are")
        return self.text_model(
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            logits_to_keep=logits_to_keep,
            **kwargs,
        )

    def _with_images(self, ids: torch.Tensor, embeds: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
        places = ids == self.config.image_token_id
        counts = places.sum(dim=1).tolist()
        if counts != [images.shape[1]] * images.shape[0]:
            wrong = next((n for n in counts if n != images.shape[1]), None)
            found = f"{len(counts)} prompts for {len(images)} images" if wrong is None else f"a prompt with {wrong}"
            raise ValueError(f"every prompt must hold {images.shape[1]} image placeholders for its image; got {found}")
        return embeds.masked_scatter(places.unsqueeze(-1), images.to(embeds.device, embeds.dtype))

    def _encode(self, pixels: torch.Tensor, grids: torch.Tensor | None) -> torch.Tensor:
        if self.config.views == 1:
            return self._features(pixels[:, 0])
        shapes = [(1, 1)] * len(pixels) if grids is None else [(int(r), int(c)) for r, c in grids.tolist()]
        # An image of one tile is its own tile.
        counts = [rows * columns if rows * columns > 1 else 0 for rows, columns in shapes]
        tiles = [image[1 : 1 + count] for image, count in zip(pixels, counts, strict=True)]
        features = self._features(torch.cat([pixels[:, 0], *tiles]))
        wholes, *parts = torch.split(features, [len(pixels), *counts])
        near = [
            _joined(part, *shape) if len(part) else whole
            for whole, part, shape in zip(wholes, parts, shapes, strict=True)
        ]
        return torch.cat([wholes, torch.stack(near)], dim=2)

    def _features(self, images: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.vision_model(images).last_hidden_state
        return features


def _joined(tiles: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """Features (rows * columns, positions, width) of tiles as one map, brought to a tile's size: (positions, width).

    The published code resizes bilinearly; by whole factors up to 2 this is the mean of neighbours.
    """
    side = math.isqrt(tiles.shape[1])
    grid = tiles.reshape(rows, columns, side, side, -1).permute(4, 0, 2, 1, 3)
    whole = grid.reshape(-1, rows * side, columns * side)
    return avg_pool2d(whole, (rows, columns)).flatten(1).T
