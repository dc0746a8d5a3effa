"""Random changes to training images under which an image stays one of its modality, and its patient's sides stay."""

from __future__ import annotations

import torch
from torch.nn import functional

from radcap.settings import Augmentation


def augment(pixels: torch.Tensor, ranges: Augmentation, generator: torch.Generator) -> torch.Tensor:
    """Turn, zoom, shift and change the contrast of each image of a batch (n, 3, side, side), each by its own draw.

    Never a mirror image: radiology has a left and a right. What comes in at an edge repeats the edge.
    """

    def draw(limit: float) -> torch.Tensor:
        return (2 * torch.rand(len(pixels), generator=generator) - 1) * limit

    angle, zoom = torch.deg2rad(draw(ranges.rotation)), 1 + draw(ranges.zoom)
    # In grid_sample's units an image is 2 wide.
    across, down = 2 * draw(ranges.shift), 2 * draw(ranges.shift)
    cos, sin = angle.cos() * zoom, angle.sin() * zoom
    moves = torch.stack([cos, -sin, across, sin, cos, down], dim=1).view(-1, 2, 3).to(pixels)
    grid = functional.affine_grid(moves, list(pixels.shape), align_corners=False)
    moved = functional.grid_sample(pixels, grid, padding_mode="border", align_corners=False)
    contrast = 1 + draw(ranges.contrast).to(pixels)
    return moved * contrast[:, None, None, None]
