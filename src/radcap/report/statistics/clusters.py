"""Captions of one source article stand or fall together: what resampling draws are articles, not captions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
# Numbers of columns.
Places = npt.NDArray[np.intp]
# Numbers in a block of weights or signs: 64 MiB.
BLOCK = 2**23


@dataclass(frozen=True)
class Sums:
    """Values summed by cluster: `sums` (clusters, columns), `sizes` (clusters)."""

    sums: Array
    sizes: Array

    def __len__(self) -> int:
        return len(self.sizes)

    @property
    def means(self) -> Array:
        """Plain means over captions, (columns)."""
        means: Array = self.sums.sum(axis=0) / self.sizes.sum()
        return means

    @property
    def left_out(self) -> Array:
        """The jackknife: means without each cluster in turn, (clusters, columns)."""
        left: Array = (self.sums.sum(axis=0) - self.sums) / (self.sizes.sum() - self.sizes)[:, None]
        return left


def summed(values: Array, clusters: Sequence[str | None] | None = None) -> Sums:
    """Sum (captions, columns) by cluster. A caption whose cluster is None, or all without `clusters`, is its own."""
    if clusters is None:
        return Sums(np.ascontiguousarray(values, dtype=np.float64), np.ones(len(values)))
    assert len(clusters) == len(values), f"{len(clusters)} clusters for {len(values)} captions"
    keys: list[Any] = [number if name is None else name for number, name in enumerate(clusters)]
    numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    of = np.array([numbers[key] for key in keys], dtype=np.intp)
    sums = np.zeros((len(numbers), values.shape[1]))
    np.add.at(sums, of, values)
    return Sums(sums, np.bincount(of, minlength=len(numbers)).astype(np.float64))


def blocks(rows: int, width: int) -> Iterator[int]:
    """Split `rows` rows of `width` numbers into counts that each fit a block."""
    size = max(BLOCK // width, 1)
    for start in range(0, rows, size):
        yield min(size, rows - start)
