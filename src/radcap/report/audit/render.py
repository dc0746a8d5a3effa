"""An audit as text, as Markdown and as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any

from radcap.report.audit.check import Audit, Finding, Flip
from radcap.report.markdown import markdown

HEADER = ("Table", "Row", "Figure", "Printed", "By formula", "From", "To")


def text(audits: Sequence[Audit]) -> str:
    """For a terminal: a line a finding."""
    return "\n".join("\n".join(_lines(audit)) + "\n" for audit in audits)


def page(audits: Sequence[Audit]) -> str:
    """reports/audit.md."""
    return "# Audit\n\n" + "\n".join(_section(audit) for audit in audits)


def as_json(audit: Audit) -> dict[str, Any]:
    return {
        "source": audit.source,
        "checked": audit.checked,
        "unchecked": audit.unchecked,
        "findings": [_finding(finding) for finding in audit.findings],
        "follow": [_finding(finding) for finding in audit.follow],
        "flips": [_flip(flip) for flip in audit.flips],
        "remarks": list(audit.remarks),
    }


def verdict(audit: Audit) -> str:
    """One line: how much was recomputed, and how much of it is off."""
    text = f"{audit.source}: {audit.checked} figures recomputed, {len(audit.findings)} off by more than rounding"
    return text + (f", {audit.unchecked} without all their components" if audit.unchecked else "")


def flip_line(flip: Flip) -> str:
    """Two rows that change places, in words."""
    (first, second), printed = flip.rows, flip.printed
    values = [_value(formula.value, figure.places) for formula, figure in zip(flip.formula, printed, strict=True)]
    return (
        f"{flip.table}, {flip.figure}: printed {first} {printed[0]} above {second} {printed[1]}; "
        f"by formula {values[0]} below {values[1]}"
    )


def _lines(audit: Audit) -> Iterable[str]:
    yield verdict(audit)
    for finding in audit.findings:
        yield f"  {_line(finding)}" + (f" ({finding.why})" if finding.why else "")
    if audit.follow:
        yield "consequences: these agree with the printed figures they are computed from, but not with the components"
    yield from (f"  {_line(finding)}, of the printed ones {_parts(finding)}" for finding in audit.follow)
    if audit.flips:
        yield "rankings that flip"
    yield from (f"  {flip_line(flip)}" for flip in audit.flips)
    if audit.remarks:
        yield "remarks"
    yield from (f"  {remark}" for remark in audit.remarks)


def _line(finding: Finding) -> str:
    table, row, figure, printed, formula, low, high = _cells(finding)
    return f"{table}  {row:<24} {figure:<12} printed {printed:>6}  by formula {formula:>8}  ({low} to {high})"


def _section(audit: Audit) -> str:
    parts = [f"## {audit.source}\n\n{verdict(audit)}.\n"]
    if audit.findings:
        rows = [[*_cells(finding), finding.why] for finding in audit.findings]
        parts.append(markdown([*HEADER, "Would be right as"], rows, words=3))
    if audit.follow:
        parts.append("Consequences: they agree with printed figures, but not with the components.\n")
        rows = [[*_cells(finding), _parts(finding)] for finding in audit.follow]
        parts.append(markdown([*HEADER, "From printed figures"], rows, words=3))
    for heading, lines in (("Rankings that flip", map(flip_line, audit.flips)), ("Remarks", audit.remarks)):
        if text := "".join(f"- {line}\n" for line in lines):
            parts.append(f"{heading}:\n\n{text}")
    return "\n".join(parts)


def _cells(finding: Finding) -> list[str]:
    places, formula = finding.printed.places, finding.formula
    shown = [_value(number, places) for number in (formula.value, formula.low, formula.high)]
    return [finding.table, finding.row, finding.figure, str(finding.printed), *shown]


def _parts(finding: Finding) -> str:
    return _value(finding.parts.value, finding.printed.places) if finding.parts else ""


def _value(number: Fraction, places: int) -> str:
    """With up to two digits more than were printed."""
    whole, _, decimals = f"{float(number):.{places + 2}f}".partition(".")
    return f"{whole}.{decimals[:places]}{decimals[places:].rstrip('0')}"


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "table": finding.table,
        "row": finding.row,
        "figure": finding.figure,
        "printed": float(finding.printed.value),
        "by_formula": _round(finding.formula.value),
        "from": _round(finding.formula.low),
        "to": _round(finding.formula.high),
        "of_printed_figures": _round(finding.parts.value) if finding.parts else None,
        "why": finding.why or None,
    }


def _flip(flip: Flip) -> dict[str, Any]:
    return {
        "table": flip.table,
        "figure": flip.figure,
        "rows": list(flip.rows),
        "printed": [float(figure.value) for figure in flip.printed],
        "by_formula": [_round(interval.value) for interval in flip.formula],
    }


def _round(number: Fraction) -> float:
    return round(float(number), 6)
