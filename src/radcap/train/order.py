"""The order in which examples train."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import Sampler
from transformers.trainer_pt_utils import get_length_grouped_indices


class Order(Sampler[int]):
    """Rows at random, in batches of similar length, so that little of a batch is padding; another order each epoch.

    The seed and the epoch's number decide the order. `first_epoch` is that of the first iteration: a run that goes on
    from a state begins in the middle. Row r as -1 - r fills the last batch up to a multiple of `parts`: it is there
    for its shape, and nothing of it is learned.
    """

    def __init__(
        self, lengths: Sequence[int], *, batch_size: int, seed: int, first_epoch: int = 0, parts: int = 1
    ) -> None:
        self.lengths, self.batch_size, self.parts = list(lengths), batch_size, parts
        self.generator = torch.Generator().manual_seed(seed)
        for _ in range(first_epoch):
            self._draw()

    def __len__(self) -> int:
        return -(-len(self.lengths) // self.parts) * self.parts

    def __iter__(self) -> Iterator[int]:
        drawn = self._draw()
        # The shortest example costs least.
        fill = -1 - min(range(len(drawn)), key=self.lengths.__getitem__)
        return iter([*drawn, *[fill] * (len(self) - len(drawn))])

    def _draw(self) -> list[int]:
        drawn: list[int] = get_length_grouped_indices(self.lengths, self.batch_size, generator=self.generator)
        return drawn
