"""Images and prompts as MoonDream2's inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import avg_pool2d

from radcap.models.families.moondream.config import MoondreamConfig
from radcap.models.family import Tensors

# Smaller pictures are not cut into tiles.
TILED_FROM = 512


@dataclass(frozen=True)
class Processor:
    """A tokenizer, and what of the model's configuration its inputs depend on."""

    tokenizer: Any
    config: MoondreamConfig

    def __call__(self, image: Image.Image, prompt: str) -> Tensors:
        """One example: first token, the image's placeholders, the prompt; pixel_values (1, tiles, 3, size, size).

        Where the model sees tiles also image_grids (1, 2), their rows and columns.
        """
        tokens = self.tokenizer(prompt, add_special_tokens=False)["input_ids"]
        ids = [self.tokenizer.bos_token_id, *[self.config.image_token_id] * self.config.positions, *tokens]
        side = self.config.vision_config.image_size
        size = (side, side) if self.config.views == 1 else tiled_size(*image.size, side=side)
        tiles, grid = cut(pixels(image, size), side=side)
        inputs = {"input_ids": torch.tensor([ids]), "pixel_values": tiles.unsqueeze(0)}
        return inputs if self.config.views == 1 else {**inputs, "image_grids": torch.tensor([grid])}


def tiled_size(width: int, height: int, *, side: int) -> tuple[int, int]:
    """Height and width, of one or two tiles each, whose aspect ratio is nearest to the image's, then whose size is.

    As published, the size's distance takes heights for widths; it counts only between equally near ratios.
    """
    if max(width, height) < TILED_FROM:
        return side, side
    sizes = [(rows * side, columns * side) for rows in (1, 2) for columns in (1, 2)]
    return min(sizes, key=lambda s: (abs(s[1] / s[0] - width / height), abs(s[0] - width) + abs(s[1] - height)))


def pixels(image: Image.Image, size: tuple[int, int]) -> torch.Tensor:
    """An RGB image resized to a height and width, in [-1, 1]: (3, height, width)."""
    resized = np.array(image.resize((size[1], size[0]), Image.Resampling.BICUBIC), dtype=np.float32)
    return (torch.from_numpy(resized).permute(2, 0, 1) / 255 - 0.5) / 0.5


def cut(image: torch.Tensor, *, side: int) -> tuple[torch.Tensor, tuple[int, int]]:
    """An image (3, height, width) made smaller and, if it holds several tiles, these row by row; and their grid.

    The published code resizes bilinearly without smoothing; by whole factors up to 2 this is the mean of neighbours.
    """
    rows, columns = image.shape[1] // side, image.shape[2] // side
    whole = avg_pool2d(image, (rows, columns)).unsqueeze(0)
    if rows * columns == 1:
        return whole, (1, 1)
    tiles = image.reshape(3, rows, side, columns, side).permute(1, 3, 0, 2, 4).reshape(-1, 3, side, side)
    return torch.cat([whole, tiles]), (rows, columns)
