"""How many positions an example takes in each part of a model, from its configuration."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

# Side in pixels of the picture for which models that keep a picture's resolution are planned: about that of 249 open
# radiology pictures (the median of the roots of their areas is 493), and a multiple of Qwen's 28.
PICTURE_SIDE = 504
# Tokens of a prompt per character outside its special tokens: the usual rule of thumb for English.
CHARACTERS_PER_TOKEN = 4


@dataclass(frozen=True)
class Positions:
    """Positions per example: `vision` in the tower, `connector` in the connector, `context` where its attention looks,
    `language` in the language model; `label` of the last are the caption's, whose logits are computed."""

    vision: int
    connector: int
    context: int
    language: int
    label: int


def positions(config: Any, *, prompt: str, caption_tokens: int, image: Mapping[str, Any]) -> Positions:
    """Positions of an example with one picture of PICTURE_SIDE, processed with the model's settings `image`."""
    vision, connector, seen = _of_picture(config, image)
    # IDEFICS' resampler, the one connector with attention, looks at the tower's positions and its own.
    language = seen + prompt_tokens(prompt) + caption_tokens
    return Positions(vision, connector, vision + connector, language, caption_tokens)


def prompt_tokens(prompt: str) -> int:
    """Estimated tokens of a prompt besides its image's: one per special token, the rest by characters."""
    specials = re.findall(r"<[^<>\s]+>", prompt)
    rest = re.sub(r"<[^<>\s]+>", "", prompt)
    return len(specials) + -(-len(rest) // CHARACTERS_PER_TOKEN)


def _of_picture(config: Any, image: Mapping[str, Any]) -> tuple[int, int, int]:
    """Positions of the picture in the tower, in the connector, and in the language model."""
    by_type: dict[str, Callable[[Any, Any, Mapping[str, Any]], tuple[int, int, int]]] = {
        "llava": _llava,
        "llava_next": _llava_next,
        "moondream": _moondream,
        "idefics": _idefics,
        "idefics3": _smolvlm,
        "qwen2_vl": _qwen,
        "qwen2_5_vl": _qwen,
    }
    return by_type[config.model_type](config, config.vision_config, image)


def _patches(vision: Any) -> int:
    return int(vision.image_size // vision.patch_size) ** 2


def _llava(_: Any, vision: Any, __: Mapping[str, Any]) -> tuple[int, int, int]:
    patches = _patches(vision)
    # CLIP's class token stays behind.
    return patches + 1, patches, patches


def _llava_next(config: Any, vision: Any, image: Mapping[str, Any]) -> tuple[int, int, int]:
    patches, grid = _patches(vision), vision.image_size // vision.patch_size
    pinpoints = image.get("image_grid_pinpoints", config.image_grid_pinpoints)
    sides = [(height // vision.image_size, width // vision.image_size) for height, width in pinpoints]
    # The largest grid, nothing cropped: a line break after each row of patches, and the small picture.
    tiles = max(rows * columns for rows, columns in sides) + 1
    enlarged = max(rows * grid * (columns * grid + 1) for rows, columns in sides)
    return tiles * (patches + 1), tiles * patches, enlarged + patches


def _moondream(config: Any, vision: Any, _: Mapping[str, Any]) -> tuple[int, int, int]:
    patches = _patches(vision)
    # With two views, the whole picture and up to two by two tiles.
    return patches * (1 if config.views == 1 else 5), patches, patches


def _idefics(config: Any, vision: Any, _: Mapping[str, Any]) -> tuple[int, int, int]:
    # The language model reads two fences and a placeholder, and sees the resampler's latents by cross-attention.
    return _patches(vision) + 1, config.perceiver_config.resampler_n_latents, 3


def _smolvlm(config: Any, vision: Any, image: Mapping[str, Any]) -> tuple[int, int, int]:
    # The processor enlarges a picture to so many tiles a side, and adds the whole picture.
    side = image["size"]["longest_edge"] // vision.image_size if image["do_image_splitting"] else 0
    tiles, patches = side**2 + 1, _patches(vision)
    shuffled = patches // config.scale_factor**2
    # Two marks a tile, a line break a row, and four marks around the whole picture (three where it is alone).
    marks = 2 * side**2 + side + 4 if side else 3
    return tiles * patches, tiles * shuffled, tiles * shuffled + marks


def _qwen(_: Any, vision: Any, image: Mapping[str, Any]) -> tuple[int, int, int]:
    merged = min(PICTURE_SIDE**2, image["max_pixels"]) // (vision.patch_size * vision.spatial_merge_size) ** 2
    return merged * vision.spatial_merge_size**2, merged, merged
