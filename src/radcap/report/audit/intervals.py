"""All values that a printed figure can stand for, as fractions: nothing is lost between two roundings."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

from radcap.report.published import Printed


class Interval(NamedTuple):
    """All values between two ends, both included (a tie may have been rounded either way); `value`: of the figures as
    they stand."""

    low: Fraction
    high: Fraction
    value: Fraction

    def meets(self, other: Interval) -> bool:
        return self.low <= other.high and other.low <= self.high

    def within(self, other: Interval) -> Interval:
        """The part that lies in the other one too; they must meet."""
        return Interval(max(self.low, other.low), min(self.high, other.high), self.value)


def box(figure: Printed) -> Interval:
    return Interval(figure.low, figure.high, figure.value)


def mean(parts: Sequence[Interval]) -> Interval:
    return Interval(*(sum(values, Fraction(0)) / len(parts) for values in zip(*parts, strict=True)))


def percent(part: Interval, whole: Interval) -> Interval:
    """100 * part / whole, both positive."""
    return Interval(100 * part.low / whole.high, 100 * part.high / whole.low, 100 * part.value / whole.value)


def percent_with_part(part: Interval, rest: Interval) -> Interval:
    """100 * part / (rest + part), which grows with the part and falls with the rest."""
    pairs = (part.low, rest.high), (part.high, rest.low), (part.value, rest.value)
    return Interval(*(100 * p / (r + p) for p, r in pairs))


def change(base: Interval, new: Interval) -> Interval | None:
    """100 * (new - base) / base; None where base may be 0 or less, of which nothing is a percentage."""
    if base.low <= 0:
        return None
    ratios = [end / of for end in (new.low, new.high) for of in (base.low, base.high)]
    return Interval(*(100 * (ratio - 1) for ratio in (min(ratios), max(ratios), new.value / base.value)))
