"""Bootstrap means and their intervals, bias-corrected and accelerated (Efron 1987, J. Am. Stat. Assoc. 82:171).

Clusters are drawn with replacement as a whole, and a mean is the drawn sum over the drawn number of captions (Field &
Welsh 2007, J. R. Stat. Soc. B 69:369). All columns share the draws, so that a difference of two columns is paired.
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr, ndtri

from radcap.report.statistics.clusters import Array, Sums, blocks


def resampled(sums: Sums, *, resamples: int, rng: np.random.Generator) -> Array:
    """Means of bootstrap samples, (resamples, columns): how often each cluster is drawn, times its sums."""
    clusters = len(sums)
    totals = np.column_stack([sums.sums, sums.sizes])
    means = []
    for rows in blocks(resamples, clusters):
        drawn = rng.integers(0, clusters, (rows, clusters), dtype=np.int64)
        drawn += np.arange(rows)[:, None] * clusters
        weights = np.bincount(drawn.ravel(), minlength=rows * clusters).reshape(rows, clusters)
        weighted = weights.astype(np.float64) @ totals
        means.append(weighted[:, :-1] / weighted[:, -1:])
    return np.concatenate(means)


def bca(distribution: Array, observed: Array, left_out: Array, *, confidence: float) -> tuple[Array, Array]:
    """Ends of the intervals, each (columns).

    `distribution` (resamples, columns), `observed` (columns), `left_out` (clusters, columns) from the jackknife. Where
    nothing varies, both ends are the value itself.
    """
    below = ((distribution < observed).mean(axis=0) + (distribution <= observed).mean(axis=0)) / 2
    bias = ndtri(below)
    pull = left_out.mean(axis=0) - left_out
    with np.errstate(divide="ignore", invalid="ignore"):
        acceleration = (pull**3).sum(axis=0) / (6 * (pull**2).sum(axis=0) ** 1.5)
    acceleration = np.nan_to_num(acceleration, nan=0.0, posinf=0.0, neginf=0.0)
    ranked = np.sort(distribution, axis=0)
    low, high = (
        _quantiles(ranked, _level(bias, acceleration, tail)) for tail in ((1 - confidence) / 2, (1 + confidence) / 2)
    )
    return low, high


def _level(bias: Array, acceleration: Array, tail: float) -> Array:
    """The share of the distribution below an interval's end; the plain one where the bias is beyond all resamples."""
    shifted = bias + ndtri(tail)
    with np.errstate(invalid="ignore"):
        level = ndtr(bias + shifted / (1 - acceleration * shifted))
    plain: Array = np.where(np.isfinite(level), level, tail)
    return plain


def _quantiles(ranked: Array, levels: Array) -> Array:
    """One quantile per column of sorted values, linear between ranks as numpy's."""
    place = levels * (len(ranked) - 1)
    low = np.floor(place).astype(np.intp)
    high = np.minimum(low + 1, len(ranked) - 1)
    columns = np.arange(ranked.shape[1])
    found: Array = ranked[low, columns] + (place - low) * (ranked[high, columns] - ranked[low, columns])
    return found
