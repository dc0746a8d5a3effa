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
        "findings": [_finding(found) for found in audit.findings],
        "follow": [_finding(found) for found in audit.follow],
        "flips": [_flip(flip) for flip in audit.flips],
        "remarks": list(audit.remarks),
    }


def verdict(audit: Audit) -> str:
    """One line: how much was recomputed, and how much of it is off."""
    told = f"{audit.source}: {audit.checked} figures recomputed, {len(audit.findings)} off by more than rounding"
    return told + (f", {audit.unchecked} without all their components" if audit.unchecked else "")


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
    for found in audit.findings:
        yield f"  {_line(found)}" + (f" ({found.why})" if found.why else "")
    if audit.follow:
        yield "consequences: these agree with the printed figures they are computed from, but not with the components"
    yield from (f"  {_line(found)}, of the printed ones {_parts(found)}" for found in audit.follow)
    if audit.flips:
        yield "rankings that flip"
    yield from (f"  {flip_line(flip)}" for flip in audit.flips)
    if audit.remarks:
        yield "remarks"
    yield from (f"  {remark}" for remark in audit.remarks)


def _line(found: Finding) -> str:
    table, row, figure, printed, formula, low, high = _cells(found)
    return f"{table}  {row:<24} {figure:<12} printed {printed:>6}  by formula {formula:>8}  ({low} to {high})"


def _section(audit: Audit) -> str:
    parts = [f"## {audit.source}\n\n{verdict(audit)}.\n"]
    if audit.findings:
        rows = [[*_cells(found), found.why] for found in audit.findings]
        parts.append(markdown([*HEADER, "Would be right as"], rows, words=3))
    if audit.follow:
        parts.append("Consequences: they agree with printed figures, but not with the components.\n")
        rows = [[*_cells(found), _parts(found)] for found in audit.follow]
        parts.append(markdown([*HEADER, "From printed figures"], rows, words=3))
    for heading, lines in (("Rankings that flip", map(flip_line, audit.flips)), ("Remarks", audit.remarks)):
        if told := "".join(f"- {line}\n" for line in lines):
            parts.append(f"{heading}:\n\n{told}")
    return "\n".join(parts)


def _cells(found: Finding) -> list[str]:
    places, formula = found.printed.places, found.formula
    shown = [_value(number, places) for number in (formula.value, formula.low, formula.high)]
    return [found.table, found.row, found.figure, str(found.printed), *shown]


def _parts(found: Finding) -> str:
    return _value(found.parts.value, found.printed.places) if found.parts else ""


def _value(number: Fraction, places: int) -> str:
    """With up to two digits more than were printed."""
    whole, _, decimals = f"{float(number):.{places + 2}f}".partition(".")
    return f"{whole}.{decimals[:places]}{decimals[places:].rstrip('0')}"


def _finding(found: Finding) -> dict[str, Any]:
    return {
        "table": found.table,
        "row": found.row,
        "figure": found.figure,
        "printed": float(found.printed.value),
        "by_formula": _round(found.formula.value),
        "from": _round(found.formula.low),
        "to": _round(found.formula.high),
        "of_printed_figures": _round(found.parts.value) if found.parts else None,
        "why": found.why or None,
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
