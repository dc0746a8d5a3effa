"""The order in which examples are trained on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import Sampler
from transformers.trainer_pt_utils import get_length_grouped_indices


class LengthGroupedSampler(Sampler[int]):
    """A random order in which each batch holds examples of similar length, so that there is little padding.

    The seed and the number of the epoch determine the order; every epoch has another one. `first_epoch` is the epoch
    of the first iteration, for a run that resumes from a checkpoint. Each epoch is filled up to a multiple of
    `multiple_of` with the index -1 - r of a row r: this example gives a batch its shape, but nothing is learned
    from it.
    """

    def __init__(
        self, lengths: Sequence[int], *, batch_size: int, seed: int, first_epoch: int = 0, multiple_of: int = 1
    ) -> None:
        self.lengths, self.batch_size, self.multiple_of = list(lengths), batch_size, multiple_of
        self.generator = torch.Generator().manual_seed(seed)
        for _ in range(first_epoch):
            self._draw()

    def __len__(self) -> int:
        return -(-len(self.lengths) // self.multiple_of) * self.multiple_of

    def __iter__(self) -> Iterator[int]:
        indices = self._draw()
        # The shortest example is the cheapest.
        filler = -1 - min(range(len(indices)), key=self.lengths.__getitem__)
        return iter([*indices, *[filler] * (len(self) - len(indices))])

    def _draw(self) -> list[int]:
        indices: list[int] = get_length_grouped_indices(self.lengths, self.batch_size, generator=self.generator)
        return indices
