"""Images as the network takes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.utils.data import Dataset

from radcap.data.images import open_rgb


class Pixels(Dataset):  # type: ignore[type-arg]
    """(pixels (3, side, side), class) of some rows; `cache` keeps the pixels in memory once made.

    `images`: bytes by row, read from disk when asked for. `cases`: (row, class) of each item.
    """

    def __init__(self, processor: Any, images: Sequence[bytes], cases: Sequence[tuple[int, int]], *, cache: bool):
        self.processor, self.images, self.cases = processor, images, cases
        self.kept: dict[int, torch.Tensor] | None = {} if cache else None

    def __len__(self) -> int:
        return len(self.cases)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        row, case = self.cases[index]
        if self.kept is not None and row in self.kept:
            return self.kept[row], case
        pixels: torch.Tensor = self.processor(open_rgb(self.images[row]), return_tensors="pt")["pixel_values"][0]
        if self.kept is not None:
            self.kept[row] = pixels
        return pixels, case
