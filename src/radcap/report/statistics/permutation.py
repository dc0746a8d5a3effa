"""Paired permutation tests: which of two systems wrote a caption is exchangeable if they are equally good.

Exchanging two captions flips the sign of their difference, and captions of one cluster are exchanged together (Winkler
et al. 2014, NeuroImage 92:381, whole-block sign flips).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from radcap.report.statistics.clusters import Array, Places, Sums, blocks

# Sums that differ by less are ties: the order of adding decides their last digits.
TIE = 1e-12


def p_values(given: Sums, pairs: Sequence[tuple[Places, Places]], *, resamples: int, rng: np.random.Generator) -> Array:
    """Two-sided p of each pair and column, (pairs, columns of a pair).

    A pair is two arrays of column numbers of `given`. All sign patterns are tried where there are no more of them than
    `resamples`; else p = (1 + as extreme) / (1 + drawn), which is never 0 (Phipson & Smyth 2010).
    """
    first, second = (np.array(side) for side in zip(*pairs, strict=True))
    total, scale = given.sums.sum(axis=0), np.abs(given.sums).sum(axis=0)
    bound = np.abs(total[first] - total[second]) - TIE * (scale[first] + scale[second])
    extreme, drawn = np.zeros(first.shape), 0
    for signs in _signs(len(given), resamples, rng):
        # The sum of flipped differences is the difference of flipped sums: one product serves all pairs.
        flipped = signs @ given.sums
        for number, (one, other) in enumerate(zip(first, second, strict=True)):
            extreme[number] += (np.abs(flipped[:, one] - flipped[:, other]) >= bound[number]).sum(axis=0)
        drawn += len(signs)
    added = 0 if _all_fit(len(given), resamples) else 1
    return (extreme + added) / (drawn + added)


def _all_fit(clusters: int, resamples: int) -> bool:
    return clusters < 63 and 2**clusters <= resamples


def _signs(clusters: int, resamples: int, rng: np.random.Generator) -> Iterator[Array]:
    """Blocks of rows of +1 and -1."""
    if _all_fit(clusters, resamples):
        patterns = np.arange(2**clusters)[:, None] >> np.arange(clusters)
        yield _sign(patterns & 1)
        return
    for rows in blocks(resamples, clusters):
        yield _sign(rng.integers(0, 2, (rows, clusters), dtype=np.int8))


def _sign(bits: npt.NDArray[np.integer[Any]]) -> Array:
    signs: Array = 1 - 2 * bits.astype(np.float64)
    return signs
