"""Full-size models with random weights, matching batches, and the floating-point operations of a step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from radcap import settings
from radcap.adapt.lora import add_lora
from radcap.models.base import LoadedModel
from radcap.models.family import Family, get_family
from radcap.models.inputs import IGNORED
from radcap.plan.positions import PICTURE_SIDE
from radcap.plan.sizes import full_size

PROMPT_TOKENS = 40


@dataclass(frozen=True)
class ExampleCost:
    """Parameters (without embeddings) and positions of one example, for vision tower, language model and head.

    `labels`: labelled tokens. `vision_attention`, `language_attention`: operations of the attention, forward.
    `trained_vision`, `trained_language`: trainable parameters.
    """

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
        """Floating-point operations that a step needs for one example.

        2 per weight and position in the forward pass; 2 for the gradients of the inputs where something before or in
        this part is trainable; 2 per trainable weight and position for its gradient. Attention: 4 * layers * width *
        positions ** 2 forward and twice that backward. The head counts only at the positions of the caption. The
        connector, and anything that runs a second time, does not count.
        """
        has_backward = bool(self.trained_vision)
        vision = 2 * self.vision * self.vision_positions * (2 if has_backward else 1)
        vision += self.vision_attention * (3 if has_backward else 1)
        language = 4 * self.language * self.positions + 3 * self.language_attention
        trained = 2 * (self.trained_vision * self.vision_positions + self.trained_language * self.positions)
        return float(vision + language + trained + 4 * self.head * self.labels)


def build_model(key: str, *, tiny: bool, device: str) -> tuple[Family, Any, Any]:
    """Family, model with new adapters of the strategy targeted, and the configuration of its base."""
    params = settings.load()
    block = params.models[key]
    model_family = get_family(block.family)
    torch.manual_seed(1)
    if tiny:
        config = model_family.miniature(block.miniature, ["a nodule in the left lung"] * 9)[0].config
    else:
        config = model_family.config(full_size(key))
    torch.set_default_dtype(torch.bfloat16)
    with torch.device(device):
        base = model_family.build(config)
    torch.set_default_dtype(torch.float32)
    update = {"strategy": "targeted", "r": 16, "alpha": 32, "dropout": 0.0}
    model, _ = add_lora(LoadedModel(model_family, base, None), params.lora.model_copy(update=update), block.published)
    return model_family, model.to(device), config


def random_batch(config: Any, *, size: int, caption: int, device: str) -> dict[str, torch.Tensor]:
    """Random inputs and labels: one image, PROMPT_TOKENS text tokens and a caption per example."""
    inputs, image = _picture(config, size)
    vocabulary = config.get_text_config().vocab_size
    ids = torch.randint(10, min(vocabulary, 200), (size, len(image) + PROMPT_TOKENS + caption))
    ids[:, : len(image)] = torch.tensor(image)
    labels = ids.clone()
    labels[:, :-caption] = IGNORED
    inputs |= {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}
    if config.model_type == "qwen2_vl":
        inputs["mm_token_type_ids"] = (ids == config.image_token_id).int()
    return {n: t.to(device, torch.bfloat16 if t.is_floating_point() else None) for n, t in inputs.items()}


def _picture(config: Any, size: int) -> tuple[dict[str, torch.Tensor], list[int]]:
    """Pixels of `size` images, and the tokens that stand for one image in the text."""
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
        with_markers = [config.vision_start_token_id, *tokens, config.vision_start_token_id + 1]
        return {"pixel_values": pixels, "image_grid_thw": grid}, with_markers
    tiles = 17 if vision.image_size >= 256 else 5
    tokens = tiles * (vision.image_size // vision.patch_size // config.scale_factor) ** 2
    pixels = torch.randn(size, tiles, 3, vision.image_size, vision.image_size)
    return {"pixel_values": pixels}, [config.image_token_id] * tokens


def example_cost(model_family: Family, model: Any, config: Any, inputs: dict[str, torch.Tensor]) -> ExampleCost:
    """What a step costs for one example."""
    from radcap.adapt.parameters import base_name

    weights = dict.fromkeys(("vision", "connector", "embeddings", "language", "head"), 0)
    trained = dict(weights)
    for name, parameter in model.named_parameters():
        counts = trained if parameter.requires_grad else weights
        counts[model_family.component(base_name(name)) or "language"] += parameter.numel()
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
    return ExampleCost(
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
