"""Models at full size with random weights, batches of the right shapes for them, and what a step computes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from radcap import settings
from radcap.adapt.lora import add_lora
from radcap.models.base import Loaded
from radcap.models.family import Family, family
from radcap.models.inputs import IGNORED
from radcap.plan.positions import PICTURE_SIDE
from radcap.plan.sizes import full_size

PROMPT = 40


@dataclass(frozen=True)
class Counted:
    """Parameters without embeddings, and positions of an example, of tower with connector, language model, and head."""

    vision: int
    language: int
    head: int
    vision_positions: int
    positions: int
    labels: int
    vision_attention: int
    language_attention: int
    trained_vision: int
    trained_language: int

    def flops(self) -> float:
        """Floating-point operations that one example's step needs.

        Forward 2 per weight and position; as much again for the gradients of the inputs where something trains below
        or beside, and for the gradients of trained weights. Attention: 4 * layers * width * positions ** 2 forward,
        twice that backward. The head counts at the caption's positions alone, the connector not, and nothing that is
        run twice.
        """
        behind = bool(self.trained_vision)
        vision = 2 * self.vision * self.vision_positions * (2 if behind else 1)
        vision += self.vision_attention * (3 if behind else 1)
        language = 4 * self.language * self.positions + 3 * self.language_attention
        trained = 2 * (self.trained_vision * self.vision_positions + self.trained_language * self.positions)
        return float(vision + language + trained + 4 * self.head * self.labels)


def model_of(key: str, *, tiny: bool, device: str) -> tuple[Family, Any, Any]:
    """Family, model with fresh adapters of the strategy targeted, and its base's configuration."""
    params = settings.load()
    block = params.models[key]
    adapter = family(block.family)
    torch.manual_seed(1)
    if tiny:
        config = adapter.miniature(block.miniature, ["a nodule in the left lung"] * 9)[0].config
    else:
        config = adapter.config(full_size(key))
    torch.set_default_dtype(torch.bfloat16)
    with torch.device(device):
        base = adapter.build(config)
    torch.set_default_dtype(torch.float32)
    update = {"strategy": "targeted", "r": 16, "alpha": 32, "dropout": 0.0}
    trainee, _ = add_lora(Loaded(adapter, base, None), params.lora.model_copy(update=update), block.published)
    return adapter, trainee.to(device), config


def batch_of(config: Any, *, size: int, caption: int, device: str) -> dict[str, torch.Tensor]:
    """Random inputs of examples with one picture, PROMPT text tokens and a caption, and their labels."""
    made, image = _picture(config, size)
    text = config.get_text_config().vocab_size
    ids = torch.randint(10, min(text, 200), (size, len(image) + PROMPT + caption))
    ids[:, : len(image)] = torch.tensor(image)
    labels = ids.clone()
    labels[:, :-caption] = IGNORED
    made |= {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}
    if config.model_type == "qwen2_vl":
        made["mm_token_type_ids"] = (ids == config.image_token_id).int()
    return {n: t.to(device, torch.bfloat16 if t.is_floating_point() else None) for n, t in made.items()}


def _picture(config: Any, size: int) -> tuple[dict[str, torch.Tensor], list[int]]:
    """Pixels of `size` pictures, and the tokens that stand for one in the text."""
    vision = config.vision_config
    if config.model_type == "llava":
        tokens = (vision.image_size // vision.patch_size) ** 2
        pixels = torch.randn(size, 3, vision.image_size, vision.image_size)
        return {"pixel_values": pixels}, [config.image_token_index] * tokens
    if config.model_type == "qwen2_vl":
        side = max(min(PICTURE_SIDE, 36 * vision.patch_size) // vision.patch_size // 2 * 2, 2)
        patch = 3 * vision.temporal_patch_size * vision.patch_size**2
        tokens = [config.image_token_id] * (side * side // vision.spatial_merge_size**2)
        grid = torch.tensor([[1, side, side]] * size)
        pixels = torch.randn(size * side * side, patch)
        around = [config.vision_start_token_id, *tokens, config.vision_start_token_id + 1]
        return {"pixel_values": pixels, "image_grid_thw": grid}, around
    tiles = 17 if vision.image_size >= 256 else 5
    tokens = tiles * (vision.image_size // vision.patch_size // config.scale_factor) ** 2
    pixels = torch.randn(size, tiles, 3, vision.image_size, vision.image_size)
    return {"pixel_values": pixels}, [config.image_token_id] * tokens


def counted(adapter: Family, model: Any, config: Any, inputs: dict[str, torch.Tensor]) -> Counted:
    """What one example takes."""
    from radcap.adapt.parameters import base_name

    weights = dict.fromkeys(("vision", "connector", "embeddings", "language", "head"), 0)
    trained = dict(weights)
    for name, parameter in model.named_parameters():
        of = trained if parameter.requires_grad else weights
        of[adapter.component(base_name(name)) or "language"] += parameter.numel()
    size = len(inputs["input_ids"])
    pixels = inputs["pixel_values"]
    vision, text = config.vision_config, config.get_text_config()
    if config.model_type == "qwen2_vl":
        length = len(pixels) // size
        vision_positions, views, width, layers = length, 1, vision.embed_dim, vision.depth
    else:
        length = (vision.image_size // vision.patch_size) ** 2
        views = pixels.shape[1] if pixels.ndim == 5 else 1
        vision_positions, width, layers = views * length, vision.hidden_size, vision.num_hidden_layers
    positions = inputs["input_ids"].shape[1]
    # A tied head has no weights of its own.
    head = weights["head"] or weights["embeddings"]
    return Counted(
        vision=weights["vision"],
        language=weights["language"],
        head=head,
        vision_positions=vision_positions,
        positions=positions,
        labels=int((inputs["labels"][0] != IGNORED).sum()),
        vision_attention=4 * layers * width * length**2 * views,
        language_attention=4 * text.num_hidden_layers * text.hidden_size * positions**2,
        trained_vision=trained["vision"],
        trained_language=trained["language"],
    )
