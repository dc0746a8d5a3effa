"""Intervals, tests and corrections against scipy's and against worked examples."""

from itertools import combinations
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from radcap.report.statistics.analysis import Analysis, effects
from radcap.report.statistics.bootstrap import bca, resampled
from radcap.report.statistics.clusters import summed
from radcap.report.statistics.correction import holm, letters
from radcap.report.statistics.permutation import p_values

COLUMNS = ("rouge1", "overall")


def sample(captions: int, columns: int, *, seed: int = 0) -> np.ndarray:
    """Skewed values with a common part, as scores of the same captions have."""
    rng = np.random.default_rng(seed)
    return rng.beta(2, 5, (captions, 1)) + rng.beta(1, 4, (captions, columns)) * np.arange(1, columns + 1) / columns


def mean(values: np.ndarray, axis: int) -> np.ndarray:
    return values.mean(axis=axis)


def ratio(sums: np.ndarray, sizes: np.ndarray, axis: int) -> np.ndarray:
    return sums.sum(axis=axis) / sizes.sum(axis=axis)


def articles(captions: int, *, of: int) -> list[str]:
    """Clusters of 1, 2, ... `of` captions in turn."""
    sizes = [1 + number % of for number in range(captions)]
    return [f"PMC{number}" for number, size in enumerate(sizes) for _ in range(size)][:captions]


@pytest.mark.parametrize("clustered", [False, True])
def test_bca_intervals_are_scipys_on_the_same_resamples(clustered: bool) -> None:
    values = sample(60, 3)
    sums = summed(values, articles(60, of=4) if clustered else None)
    drawn = resampled(sums, resamples=2000, rng=np.random.default_rng(1))
    low, high = bca(drawn, sums.means, sums.left_out, confidence=0.9)
    for column in range(3):
        data = (sums.sums[:, column], sums.sizes) if clustered else (values[:, column],)
        theirs = scipy.stats.bootstrap(
            data,
            ratio if clustered else mean,
            paired=clustered,
            n_resamples=0,
            confidence_level=0.9,
            method="BCa",
            bootstrap_result=SimpleNamespace(bootstrap_distribution=drawn[:, column]),
        ).confidence_interval
        assert (low[column], high[column]) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


@pytest.mark.parametrize("clustered", [False, True])
def test_resampled_means_spread_as_scipys_do(clustered: bool) -> None:
    values = sample(80, 1)
    sums = summed(values, articles(80, of=5) if clustered else None)
    drawn = resampled(sums, resamples=20_000, rng=np.random.default_rng(2))[:, 0]
    theirs = scipy.stats.bootstrap(
        (sums.sums[:, 0], sums.sizes) if clustered else (values[:, 0],),
        ratio if clustered else mean,
        paired=clustered,
        n_resamples=20_000,
        method="percentile",
        rng=np.random.default_rng(3),
    )
    assert drawn.std(ddof=1) == pytest.approx(theirs.standard_error, rel=0.03)
    ends = np.percentile(drawn, [2.5, 97.5])
    assert ends == pytest.approx(list(theirs.confidence_interval), abs=0.05 * theirs.standard_error * 2)


def test_an_interval_of_equal_values_is_the_value() -> None:
    sums = summed(np.full((7, 1), 0.25))
    low, high = bca(
        resampled(sums, resamples=50, rng=np.random.default_rng(0)), sums.means, sums.left_out, confidence=0.95
    )
    assert (low[0], high[0]) == (0.25, 0.25)


@pytest.mark.parametrize("clustered", [False, True])
def test_a_permutation_test_of_all_patterns_is_scipys(clustered: bool) -> None:
    """Captions with ties, as concept scores have; scipy exchanges the same pairs, here of clusters' sums."""
    values = np.round(sample(18 if clustered else 10, 2, seed=4), 1)
    sums = summed(values, articles(18, of=3) if clustered else None)
    (ours,) = p_values(sums, [(np.array([0]), np.array([1]))], resamples=2**12, rng=np.random.default_rng(0))
    theirs = scipy.stats.permutation_test(
        (sums.sums[:, 0], sums.sums[:, 1]),
        lambda one, other, axis: one.sum(axis=axis) - other.sum(axis=axis),
        permutation_type="samples",
        n_resamples=np.inf,
        vectorized=True,
    )
    assert ours[0] == pytest.approx(theirs.pvalue, abs=1e-12)


def test_a_permutation_test_of_drawn_patterns_is_scipys_but_for_the_draw() -> None:
    values = sample(200, 2, seed=5)
    values[:, 1] += 0.028 - (values[:, 1] - values[:, 0]).mean()
    (ours,) = p_values(summed(values), [(np.array([0]), np.array([1]))], resamples=20_000, rng=np.random.default_rng(0))
    theirs = scipy.stats.permutation_test(
        (values[:, 0], values[:, 1]),
        lambda one, other, axis: one.mean(axis=axis) - other.mean(axis=axis),
        permutation_type="samples",
        n_resamples=20_000,
        rng=np.random.default_rng(1),
        vectorized=True,
    )
    assert 0.01 < theirs.pvalue < 0.5
    assert ours[0] == pytest.approx(theirs.pvalue, abs=5 * np.sqrt(theirs.pvalue / 20_000 * 2))


def test_equal_systems_do_not_differ_and_p_is_never_zero() -> None:
    values = np.column_stack([sample(40, 1), sample(40, 1), sample(40, 1) + 9])
    pairs = [(np.array([0]), np.array([1])), (np.array([0]), np.array([2]))]
    p = p_values(summed(values), pairs, resamples=999, rng=np.random.default_rng(0))
    assert p.tolist() == [[1.0], [1 / 1000]]


def analysis(systems: dict[str, np.ndarray], **options) -> Analysis:
    defaults = {"resamples": 500, "confidence": 0.95, "seed": 7}
    return Analysis(systems, COLUMNS, **{**defaults, **options})


def test_captions_of_one_article_count_once() -> None:
    """Every caption four times, in one cluster: as if it were there once. Without clusters it looks twice as sure."""
    once = {name: sample(50, 2, seed=number) for number, name in enumerate("ab")}
    copied = {name: np.repeat(values, 4, axis=0) for name, values in once.items()}
    names = np.repeat([f"PMC{n}" for n in range(50)], 4).tolist()
    single, clustered, naive = analysis(once), analysis(copied, clusters=names), analysis(copied)
    for name, found in clustered.estimates().items():
        for column, estimate in found.items():
            assert vars(estimate) == pytest.approx(vars(single.estimates()[name][column]))
            other = naive.estimates()[name][column]
            assert other.high - other.low == pytest.approx((estimate.high - estimate.low) / 2, rel=0.2)
    (one, *_), (same, *_) = single.differences([("a", "b")]), clustered.differences([("a", "b")])
    assert (same.low, same.high, same.p) == pytest.approx((one.low, one.high, one.p))


def test_a_caption_without_an_article_is_its_own() -> None:
    values = sample(12, 2)
    assert np.array_equal(summed(values, [None] * 12).sums, summed(values).sums)
    mixed = summed(values, ["PMC1", None, "PMC1", *[None] * 9])
    assert mixed.sizes.tolist() == [2, *[1] * 10]
    assert mixed.sums[0] == pytest.approx(values[0] + values[2])
    assert mixed.means == pytest.approx(values.mean(axis=0))


def test_clustered_intervals_hold_the_mean_as_often_as_they_say() -> None:
    """Articles of five captions with a common part: 95 % intervals, and what they are worth without clusters."""
    rng, held = np.random.default_rng(0), {"clustered": 0, "naive": 0}
    names = np.repeat([str(n) for n in range(40)], 5).tolist()
    for trial in range(1000):
        values = np.repeat(rng.normal(0, 1, (40, 1)), 5, axis=0) + rng.normal(0, 0.5, (200, 1))
        for kind, clusters in (("clustered", names), ("naive", None)):
            sums = summed(values, clusters)
            drawn = resampled(sums, resamples=400, rng=np.random.default_rng(trial))
            low, high = bca(drawn, sums.means, sums.left_out, confidence=0.95)
            held[kind] += bool(low[0] <= 0 <= high[0])
    # The bootstrap of 40 articles is a little too sure: 0.93.
    assert 0.91 <= held["clustered"] / 1000 <= 0.96
    assert held["naive"] / 1000 < 0.75


def test_all_differences_of_all_pairs_come_with_interval_p_and_effect() -> None:
    systems = {name: sample(90, 2, seed=number) + number / 40 for number, name in enumerate("abc")}
    pairs = list(combinations("abc", 2))
    found = analysis(systems).differences(pairs)
    assert [(d.first, d.second, d.column) for d in found] == [(*pair, column) for pair in pairs for column in COLUMNS]
    for difference in found:
        at = COLUMNS.index(difference.column)
        paired = systems[difference.first][:, at] - systems[difference.second][:, at]
        assert difference.difference == pytest.approx(paired.mean())
        assert difference.effect == pytest.approx(paired.mean() / paired.std(ddof=1))
        assert difference.low < difference.difference < difference.high
    for column in COLUMNS:
        rows = [d for d in found if d.column == column]
        assert [d.p_holm for d in rows] == pytest.approx(holm(np.array([d.p for d in rows])).tolist())


def test_results_depend_on_the_seed_and_not_on_what_was_asked_before() -> None:
    systems = {name: sample(30, 2, seed=number) for number, name in enumerate("abc")}
    first, second = analysis(systems), analysis(systems)
    second.differences([("b", "c")])
    assert first.differences([("a", "b")]) == second.differences([("a", "b")])
    assert first.estimates() == second.estimates()
    assert first.estimates() != analysis(systems, seed=8).estimates()
    assert first.differences([]) == []


@pytest.mark.parametrize(
    ("p", "corrected"),
    [
        # The example of Holm's steps: 4 * .005, 3 * .01, 2 * .03, and no smaller one after it.
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
        ([0.5, 0.6], [1.0, 1.0]),
        ([0.02], [0.02]),
        ([0.01, 0.01, 0.01], [0.03, 0.03, 0.03]),
    ],
)
def test_holms_correction(p: list[float], corrected: list[float]) -> None:
    assert holm(np.array(p)).tolist() == pytest.approx(corrected)


def test_an_effect_of_no_difference_is_zero() -> None:
    assert effects(np.zeros((5, 1))).tolist() == [0.0]
    assert effects(np.ones((1, 1))).tolist() == [0.0]


PAIRS = list(combinations("abcdef", 2))


@settings(deadline=None)
@given(st.sets(st.sampled_from(PAIRS)))
def test_names_share_a_letter_when_they_do_not_differ_and_only_then(different: set[tuple[str, str]]) -> None:
    marks = letters("abcdef", sorted(different))
    for pair in PAIRS:
        assert bool(set(marks[pair[0]]) & set(marks[pair[1]])) == (pair not in different)
    assert "a" in marks["a"]


def test_letters_of_a_chain() -> None:
    assert letters("xyz", [("x", "z")]) == {"x": "a", "y": "ab", "z": "b"}
    assert letters("xyz", []) == {"x": "a", "y": "a", "z": "a"}
    assert letters("xyz", [("x", "y"), ("x", "z"), ("y", "z")]) == {"x": "a", "y": "b", "z": "c"}
