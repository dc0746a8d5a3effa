"""Correction for many tests, and the groups of systems that do not differ significantly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from radcap.report.statistics.clusters import Array

Pair = tuple[str, str]


def holm(p: Array) -> Array:
    """p corrected for the number of tests (Holm 1979, Scand. J. Stat. 6:65), in the order given."""
    order = np.argsort(p, kind="stable")
    steps = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(steps, 1.0)
    return corrected


def letters(names: Sequence[str], different: Sequence[Pair]) -> dict[str, str]:
    """Names that share a letter do not differ significantly; insert and absorb (Piepho 2004, J. Comput. Graph. Stat.
    13:456). `names` from best to worst: the best gets an a."""
    groups = [set(names)]
    for first, second in different:
        for group in [group for group in groups if {first, second} <= group]:
            groups.remove(group)
            groups += [group - {first}, group - {second}]
        groups = [g for n, g in enumerate(groups) if not any(g < h or (g == h and n > m) for m, h in enumerate(groups))]
    order = sorted(groups, key=lambda group: sorted(map(list(names).index, group)))
    marks: dict[str, Any] = dict.fromkeys(names, "")
    for number, group in enumerate(order):
        for name in group:
            marks[name] += chr(ord("a") + number)
    return marks
