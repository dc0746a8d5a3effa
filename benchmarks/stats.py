"""Seconds and peak memory of the statistics at full size: python benchmarks/stats.py (from the root).

Ten models, 19,267 captions, nine columns: intervals of all means, and intervals, permutation tests, Holm's correction
and effect sizes of all pairs of models, each of 10,000 resamples. scipy.stats answers two such questions beside it.

python benchmarks/stats.py --articles     captions in articles of one to five
"""

from __future__ import annotations

import argparse
import resource
import time
from itertools import combinations

import numpy as np
import scipy.stats

from radcap.report.statistics.analysis import Analysis

COLUMNS = [f"column{number}" for number in range(9)]


def main() -> None:
    options = arguments()
    systems = made(options.models, options.captions)
    names = articles(options.captions) if options.articles else None
    start = time.monotonic()
    analysis = Analysis(systems, COLUMNS, clusters=names, resamples=options.resamples, confidence=0.95, seed=0)
    intervals = analysis.estimates()
    between = time.monotonic()
    found = analysis.differences(list(combinations(systems, 2)))
    end = time.monotonic()
    # In KiB on Linux.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"radcap: {end - start:.1f} s ({len(intervals) * len(COLUMNS)} intervals of means {between - start:.1f} s, "
        f"{len(found)} differences {end - between:.1f} s), {peak:.2f} GiB peak (budget: 60 s, 2 GiB)"
    )
    if options.scipy and not options.articles:
        beside(systems, options, intervals, found)


def made(models: int, captions: int) -> dict[str, np.ndarray]:
    """Scores with a part that all models share, as those of the same captions have."""
    rng = np.random.default_rng(0)
    common = rng.beta(2, 5, (captions, len(COLUMNS)))
    return {f"model{n}": 0.7 * common + 0.3 * rng.beta(2, 5 - n / 10, common.shape) for n in range(models)}


def articles(captions: int) -> list[str]:
    rng = np.random.default_rng(1)
    return [f"PMC{number}" for number in np.repeat(np.arange(captions), rng.integers(1, 6, captions))[:captions]]


def beside(systems: dict[str, np.ndarray], options: argparse.Namespace, intervals: dict, found: list) -> None:
    """scipy's bootstrap of one mean and permutation test of one pair, in batches that fit the memory."""
    one, other = systems["model0"][:, 0], systems["model1"][:, 0]
    start = time.monotonic()
    theirs = scipy.stats.bootstrap(
        (one,), np.mean, n_resamples=options.resamples, batch=200, method="BCa", rng=np.random.default_rng(0)
    ).confidence_interval
    middle = time.monotonic()
    test = scipy.stats.permutation_test(
        (one, other),
        lambda a, b, axis: a.mean(axis=axis) - b.mean(axis=axis),
        permutation_type="samples",
        n_resamples=options.resamples,
        batch=200,
        vectorized=True,
        rng=np.random.default_rng(0),
    )
    end = time.monotonic()
    mine, pair = intervals["model0"]["column0"], found[0]
    print(f"scipy: 1 interval of a mean {middle - start:.1f} s, 1 permutation test {end - middle:.1f} s")
    print(f"interval: {mine.low:.5f} to {mine.high:.5f}, scipy {theirs.low:.5f} to {theirs.high:.5f}")
    print(f"p: {pair.p:.4f}, scipy {test.pvalue:.4f}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=10)
    parser.add_argument("--captions", type=int, default=19_267)
    parser.add_argument("--resamples", type=int, default=10_000)
    parser.add_argument("--articles", action="store_true", help="captions in articles of one to five")
    parser.add_argument("--no-scipy", dest="scipy", action="store_false", help="without scipy's beside it")
    return parser.parse_args()


if __name__ == "__main__":
    main()
