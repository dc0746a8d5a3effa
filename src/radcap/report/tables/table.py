"""What a table is before it is Markdown, CSV, LaTeX or JSON: lines of figures, each beside what the study prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

Value = float | int | str | None
SIDES = ("measured", "published", "difference")


@dataclass(frozen=True)
class Figure:
    """One cell. `difference`: measured - published, where the two may be compared."""

    measured: Value = None
    published: Value = None
    difference: Value = None


@dataclass(frozen=True)
class Column:
    """`places`: decimals of a number; None for text. `sides`: which parts of a figure it shows."""

    name: str
    heading: str
    places: int | None = 3
    sides: tuple[str, ...] = SIDES


@dataclass(frozen=True)
class Line:
    """`names`: what the line is of, one for each of the table's heads."""

    names: tuple[str, ...]
    figures: Mapping[str, Figure]
    group: str = ""


@dataclass(frozen=True)
class Table:
    """`heads`: {key: heading} of the columns that name a line. `stacked`: the sides of a figure stand below each other,
    one row each, instead of side by side. `comparable`: whether the study's figures are of the same models and data."""

    name: str
    title: str
    heads: Mapping[str, str]
    columns: tuple[Column, ...]
    lines: tuple[Line, ...]
    comparable: bool
    stacked: bool = False
    notes: tuple[str, ...] = field(default=())


def figure(measured: Value, published: Decimal | None = None, *, comparable: bool, places: int = 4) -> Figure:
    """A number beside the study's; their difference, rounded, where they may be compared."""
    printed = None if published is None else float(published)
    both = comparable and printed is not None and isinstance(measured, (int, float))
    return Figure(measured, printed, round(measured - printed, places) if both else None)  # type: ignore[operator]


def shown(table: Table) -> list[str]:
    """The sides that some figure of the table has."""
    figures = [figure for line in table.lines for figure in line.figures.values()]
    return [side for side in SIDES if any(getattr(figure, side) is not None for figure in figures)]


def cell(value: Value, column: Column, side: str) -> str:
    """A value as text: thousands apart, a sign before a difference, nothing where there is no value."""
    if value is None or isinstance(value, str):
        return value or ""
    sign = "+" if side == "difference" else ""
    return f"{value:{sign},.{column.places or 0}f}"


@dataclass(frozen=True)
class Grid:
    """A table as text cells. `wide`: numbers of the columns that hold running text; `words`: columns of names."""

    header: Sequence[str]
    rows: Sequence[tuple[str, Sequence[str]]]
    words: int
    wide: frozenset[int]


def grid(table: Table) -> Grid:
    """Rows of cells, each with its group."""
    return _stacked(table) if table.stacked else _beside(table)


def label(side: str, table: Table) -> str:
    """What a side of a figure is called."""
    if side == "published":
        return "study" if table.comparable else "study (not comparable)"
    return side


def _stacked(table: Table) -> Grid:
    rows = []
    for line in table.lines:
        for side in shown(table):
            figures = [(getattr(line.figures.get(c.name, Figure()), side), c) for c in table.columns if side in c.sides]
            if any(value is not None for value, _ in figures):
                texts = {c.name: cell(value, c, side) for value, c in figures}
                cells = [*line.names, label(side, table), *(texts.get(c.name, "") for c in table.columns)]
                rows.append((line.group, cells))
    header = [*table.heads.values(), "Figures", *(column.heading for column in table.columns)]
    return Grid(header, rows, len(table.heads) + 1, frozenset())


def _beside(table: Table) -> Grid:
    sides = shown(table)
    columns = [(column, side) for column in table.columns for side in column.sides if side in sides]
    alone = {column.name for column in table.columns if len([s for s in column.sides if s in sides]) == 1}
    headings = [
        column.heading if column.name in alone and side == "measured" else f"{column.heading}, {label(side, table)}"
        for column, side in columns
    ]
    rows = [
        (
            line.group,
            [*line.names, *(cell(getattr(line.figures.get(c.name, Figure()), side), c, side) for c, side in columns)],
        )
        for line in table.lines
    ]
    wide = {len(table.heads) + number for number, (column, _) in enumerate(columns) if column.places is None}
    return Grid([*table.heads.values(), *headings], rows, len(table.heads), frozenset(wide))
