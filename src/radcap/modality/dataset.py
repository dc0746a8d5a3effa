"""The classifier's inputs: a dataset of pixels and classes, and the random changes to training batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional
from torch.utils.data import Dataset

from radcap.data.images import open_rgb
from radcap.settings import Augmentation


class PixelDataset(Dataset):  # type: ignore[type-arg]
    """Items (pixels (3, side, side), class index).

    `images` holds the encoded image of every row of a split, and is read from disk item by item. `examples` holds
    (row, class index) of each item. `cache` keeps the pixels in memory.
    """

    def __init__(self, processor: Any, images: Sequence[bytes], examples: Sequence[tuple[int, int]], *, cache: bool):
        self.processor, self.images, self.examples = processor, images, examples
        self.cached: dict[int, torch.Tensor] | None = {} if cache else None

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        row, class_index = self.examples[index]
        if self.cached is not None and row in self.cached:
            return self.cached[row], class_index
        pixels: torch.Tensor = self.processor(open_rgb(self.images[row]), return_tensors="pt")["pixel_values"][0]
        if self.cached is not None:
            self.cached[row] = pixels
        return pixels, class_index


def augment(pixels: torch.Tensor, ranges: Augmentation, generator: torch.Generator) -> torch.Tensor:
    """Rotate, zoom, shift and change the contrast of each image of a batch (n, 3, side, side) at random.

    No change alters the modality. Images are never mirrored, because radiology tells left from right. Where an image
    moves away from an edge, the pixels of the edge are repeated.
    """

    def uniform(limit: float) -> torch.Tensor:
        return (2 * torch.rand(len(pixels), generator=generator) - 1) * limit

    angle, zoom = torch.deg2rad(uniform(ranges.rotation)), 1 + uniform(ranges.zoom)
    # grid_sample's coordinates run from -1 to 1: an image is 2 wide.
    shift_x, shift_y = 2 * uniform(ranges.shift), 2 * uniform(ranges.shift)
    cos, sin = angle.cos() * zoom, angle.sin() * zoom
    transforms = torch.stack([cos, -sin, shift_x, sin, cos, shift_y], dim=1).view(-1, 2, 3).to(pixels)
    grid = functional.affine_grid(transforms, list(pixels.shape), align_corners=False)
    moved = functional.grid_sample(pixels, grid, padding_mode="border", align_corners=False)
    contrast = 1 + uniform(ranges.contrast).to(pixels)
    return moved * contrast[:, None, None, None]
