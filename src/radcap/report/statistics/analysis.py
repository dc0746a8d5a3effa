"""Many comparisons at once: differences with intervals, tests corrected within a family, effect sizes, letters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from radcap.report.statistics.bootstrap import bca, resampled
from radcap.report.statistics.clusters import Array, Places, Sums, summed
from radcap.report.statistics.correction import Pair, holm
from radcap.report.statistics.permutation import p_values


@dataclass(frozen=True)
class Difference:
    """One column of one pair: mean(first) - mean(second) with its interval, p, p after Holm within its family, and
    the effect size dz."""

    first: str
    second: str
    column: str
    difference: float
    low: float
    high: float
    p: float
    p_holm: float
    effect: float


@dataclass(frozen=True)
class Estimate:
    """The mean of one column of one system with its interval."""

    mean: float
    low: float
    high: float


class Analysis:
    """Systems that captioned the same images, resampled once for all questions.

    `systems`: {name: (captions, columns)}. `clusters`: the source article of each caption, where known.
    """

    def __init__(
        self,
        systems: Mapping[str, Array],
        columns: Sequence[str],
        *,
        clusters: Sequence[str | None] | None = None,
        resamples: int,
        confidence: float,
        seed: int,
    ) -> None:
        self.names, self.columns, self.confidence, self.resamples = list(systems), list(columns), confidence, resamples
        self.values, self.seed = dict(systems), seed
        self.sums: Sums = summed(np.column_stack(list(systems.values())), clusters)
        self.means, self.left_out = self.sums.means, self.sums.left_out
        self.distribution = resampled(self.sums, resamples=resamples, rng=np.random.default_rng([seed, 0]))

    def place(self, name: str) -> Places:
        """The numbers of a system's columns."""
        start = self.names.index(name) * len(self.columns)
        return np.arange(start, start + len(self.columns))

    def estimates(self) -> dict[str, dict[str, Estimate]]:
        """{system: {column: mean and interval}}."""
        found = {}
        for name in self.names:
            at = self.place(name)
            ends = bca(self.distribution[:, at], self.means[at], self.left_out[:, at], confidence=self.confidence)
            rows = zip(self.columns, self.means[at], *ends, strict=True)
            found[name] = {column: Estimate(*map(float, figures)) for column, *figures in rows}
        return found

    def differences(self, pairs: Sequence[Pair]) -> list[Difference]:
        """All columns of all pairs, which are one family: Holm's correction counts the pairs, within a column."""
        if not pairs:
            return []
        places = [(self.place(first), self.place(second)) for first, second in pairs]
        # The same signs whatever was asked before.
        p = p_values(self.sums, places, resamples=self.resamples, rng=np.random.default_rng([self.seed, 1]))
        corrected = np.column_stack([holm(column) for column in p.T])
        found = []
        for (first, second), at, raw, adjusted in zip(pairs, places, p, corrected, strict=True):
            figures = (*self._interval(*at), raw, adjusted, effects(self.values[first] - self.values[second]))
            rows = zip(self.columns, *figures, strict=True)
            found += [Difference(first, second, column, *map(float, row)) for column, *row in rows]
        return found

    def _interval(self, one: Places, other: Places) -> tuple[Array, Array, Array]:
        difference = self.means[one] - self.means[other]
        low, high = bca(
            self.distribution[:, one] - self.distribution[:, other],
            difference,
            self.left_out[:, one] - self.left_out[:, other],
            confidence=self.confidence,
        )
        return difference, low, high


def effects(differences: Array) -> Array:
    """Cohen's dz of paired differences, (columns): their mean over their standard deviation (Cohen 1988; Lakens 2013);
    0 where nothing differs."""
    deviation = differences.std(axis=0, ddof=1) if len(differences) > 1 else np.zeros(differences.shape[1])
    mean = differences.mean(axis=0)
    found: Array = np.divide(mean, deviation, out=np.zeros_like(mean), where=deviation > 0)
    return found
