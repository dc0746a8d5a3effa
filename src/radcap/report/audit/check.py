"""The audit: a figure is off when no values of its components, as far as they are printed, round to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations

from radcap.metrics.protocols import FACTUALITY, METRICS, PROTOCOLS, RELEVANCE
from radcap.report.audit.intervals import Interval, box, change, mean, percent, percent_with_part
from radcap.report.published import AGGREGATES, Figures, Printed, Row, Share

Possible = Mapping[str, Interval]


@dataclass(frozen=True)
class Finding:
    """A figure off by more than rounding. `formula`: from the components. `parts`: from the printed figures that it is
    made of, where these have components themselves. `follows`: it agrees with its parts, of which one is off.
    `why`: what would explain it."""

    table: str
    row: str
    figure: str
    printed: Printed
    formula: Interval
    parts: Interval | None = None
    follows: bool = False
    why: str = ""


@dataclass(frozen=True)
class Flip:
    """Two rows that are printed in one order, and come in the other by formula, whatever was rounded."""

    table: str
    figure: str
    rows: tuple[str, str]
    printed: tuple[Printed, Printed]
    formula: tuple[Interval, Interval]


@dataclass(frozen=True)
class Audit:
    """`checked`: figures recomputed; `unchecked`: figures that lack a component to recompute them from."""

    source: str
    checked: int
    unchecked: int
    findings: tuple[Finding, ...]
    follow: tuple[Finding, ...]
    flips: tuple[Flip, ...]
    remarks: tuple[str, ...]


def audit(figures: Figures) -> Audit:
    """Recompute relevance, factuality, overall, percent changes and shares of a set of tables."""
    checks = _Checks(figures.relevance)
    main = {name: checks.row("table 4", name, row) for name, row in figures.main.items()}
    prompted = {name: checks.row("table 5", with_modality(name), row) for name, row in figures.prompted.items()}
    for name, row in figures.others.items():
        checks.row("controls", name, row)
    for name, row in figures.changes.items():
        checks.changes(name, row, (figures.main[name], figures.prompted[name]), (main[name], prompted[name]))
    for share in figures.shares:
        checks.share(share)
    flips = [*_flips("table 4", figures.main, main), *_flips("table 5", figures.prompted, prompted)]
    for name in prompted:
        rows = {name: figures.main[name], with_modality(name): figures.prompted[name]}
        flips += _flips("table 5", rows, {name: main[name], with_modality(name): prompted[name]})
    return Audit(
        source=figures.source,
        checked=checks.checked,
        unchecked=checks.unchecked,
        findings=tuple(finding for finding in checks.findings if not finding.follows),
        follow=tuple(finding for finding in checks.findings if finding.follows),
        flips=tuple(flips),
        remarks=tuple(checks.remarks),
    )


def with_modality(name: str) -> str:
    return f"{name} +modality"


class _Checks:
    """The checks of one audit, with what they found."""

    def __init__(self, relevance: tuple[str, ...]) -> None:
        self.relevance = relevance
        self.findings: list[Finding] = []
        self.remarks: list[str] = []
        self.checked = self.unchecked = 0

    def row(self, table: str, name: str, row: Row) -> dict[str, Interval]:
        """Check a row's means. What each figure can be: what printing and formula share, else what the formula says."""
        possible = {metric: box(row[metric]) for metric in METRICS if metric in row}
        wrong = False
        for figure, parts in (("relevance", self.relevance), ("factuality", FACTUALITY)):
            if figure not in row or any(part not in possible for part in parts):
                self.unchecked += figure in row
                continue
            formula = mean([possible[part] for part in parts])
            possible[figure], fits = self._settle(row[figure], formula)
            if not fits:
                wrong = True
                self.findings.append(Finding(table, name, figure, row[figure], formula, why=_why(figure, row)))
        self._overall(table, name, row, possible, wrong=wrong)
        return possible

    def _overall(self, table: str, name: str, row: Row, possible: dict[str, Interval], *, wrong: bool) -> None:
        """Of unrounded means, or of the printed ones; the second is no excuse where one of these is wrong."""
        if not {"relevance", "factuality"} <= possible.keys() or "overall" not in row:
            self.unchecked += "overall" in row
            return
        figure, formula = row["overall"], mean([possible["relevance"], possible["factuality"]])
        parts = mean([box(row["relevance"]), box(row["factuality"])])
        possible["overall"], fits = self._settle(figure, formula)
        if not fits and (wrong or not figure.low <= parts.value <= figure.high):
            follows = wrong and parts.meets(box(figure))
            self.findings.append(Finding(table, name, "overall", figure, formula, parts, follows))

    def _settle(self, figure: Printed, formula: Interval) -> tuple[Interval, bool]:
        self.checked += 1
        fits = formula.meets(box(figure))
        return formula.within(box(figure)) if fits else formula, fits

    def changes(self, name: str, row: Row, printed: tuple[Row, Row], possible: tuple[Possible, Possible]) -> None:
        """Percent changes of the printed figures, and of what these are by formula where they are wrong."""
        wrong = {(found.row, found.figure) for found in self.findings}
        for figure, told in row.items():
            boxes = [box(row[figure]) for row in printed]
            parts = change(*boxes)
            formula = change(*(found.get(figure, own) for found, own in zip(possible, boxes, strict=True)))
            if parts is None or formula is None:
                self.unchecked += 1
                continue
            self.checked += 1
            follows, what = parts.meets(box(told)), ("table 5", f"{name} change", figure, told)
            if not follows:
                self.findings.append(Finding(*what, parts))
            elif wrong & {(name, figure), (with_modality(name), figure)} and not formula.meets(box(told)):
                self.findings.append(Finding(*what, formula, parts, follows))

    def share(self, share: Share) -> None:
        """A percentage of a whole; of trained parameters also of base and adapters together, as peft prints it."""
        self.checked += 1
        part, whole, told = box(share.part), box(share.whole), share.percent
        plain = percent(part, whole)
        if plain.meets(box(told)):
            return
        if share.adapters and percent_with_part(part, whole).meets(box(told)):
            self.remarks.append(
                f"{share.table}, {share.name}: {told} % is trained / (size + trained), as peft prints it; "
                f"trained / size is {float(plain.value):.{told.places}f} %"
            )
            return
        self.findings.append(Finding(share.table, share.name, "percent", told, plain))


def _flips(table: str, rows: Mapping[str, Row], possible: Mapping[str, Possible]) -> Iterator[Flip]:
    for figure in AGGREGATES:
        known = [name for name in rows if figure in rows[name] and figure in possible[name]]
        for pair in combinations(known, 2):
            # The one that is printed higher first.
            first, second = sorted(pair, key=lambda name: -rows[name][figure].value)
            printed = rows[first][figure], rows[second][figure]
            formula = possible[first][figure], possible[second][figure]
            if printed[0].value > printed[1].value and formula[0].high < formula[1].low:
                yield Flip(table, figure, (first, second), printed, formula)


def _why(figure: str, row: Row) -> str:
    """The protocol by which a printed relevance would be right."""
    for name, protocol in PROTOCOLS.items() if figure == "relevance" else ():
        left_out = [part for part in RELEVANCE if part not in protocol.relevance]
        if left_out and mean([box(row[part]) for part in protocol.relevance]).meets(box(row[figure])):
            return f"the mean without {', '.join(left_out)}, as under {name}"
    return ""
