"""A table as Markdown, CSV, LaTeX and JSON."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable
from itertools import groupby
from typing import Any

from radcap.report.markdown import markdown
from radcap.report.tables.table import SIDES, Figure, Grid, Table, grid

LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"} | {
    mark: f"\\{mark}" for mark in "&%$#_{}"
}


def as_markdown(table: Table) -> str:
    """A heading, the table, notes. Groups are rows of their own."""
    cells = grid(table)
    body = []
    for group, rows in groupby(cells.rows, key=lambda row: row[0]):
        if group:
            body.append([f"**{group}**", *[""] * (len(cells.header) - 1)])
        body += [[_plain(cell) for cell in cells] for _, cells in rows]
    text = markdown(cells.header, body, words=cells.words, wide=cells.wide) if body else ""
    return "\n".join([f"# {table.title}\n", text, *(f"{note}\n" for note in table.notes)]).rstrip() + "\n"


def as_csv(table: Table) -> str:
    """One row per line, a column per side of a figure; numbers as they are, not as they are shown."""
    sides = [(column.name, side) for column in table.columns for side in column.sides]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["group", *table.heads, *(f"{name}_{side}" for name, side in sides)])
    for line in table.lines:
        figures = [getattr(line.figures.get(name, Figure()), side) for name, side in sides]
        writer.writerow([line.group, *line.names, *("" if value is None else value for value in figures)])
    return buffer.getvalue()


def as_latex(table: Table) -> str:
    """For packages booktabs and graphicx: a float that is as wide as the text."""
    cells = grid(table)
    columns = "".join(
        "p{0.5\\textwidth}" if n in cells.wide else "l" if n < cells.words else "r" for n in range(len(cells.header))
    )
    lines = [
        "\\begin{table}",
        "\\centering",
        f"\\caption{{{_latex(table.title)}}}",
        f"\\label{{tab:{table.name}}}",
        "\\resizebox{\\textwidth}{!}{%",
        f"\\begin{{tabular}}{{{columns}}}",
        "\\toprule",
        _latex_row(cells.header),
        *_latex_body(cells),
        "\\bottomrule",
        "\\end{tabular}}",
        *(f"\\par\\footnotesize {_latex(note)}" for note in table.notes),
        "\\end{table}",
    ]
    return "\n".join(lines) + "\n"


def as_json(table: Table) -> str:
    """Every figure with its sides; rows in the table's order."""
    rows: list[dict[str, Any]] = []
    for line in table.lines:
        record: dict[str, Any] = {"group": line.group or None, **dict(zip(table.heads, line.names, strict=True))}
        for column in table.columns:
            figure = line.figures.get(column.name, Figure())
            record[column.name] = {side: getattr(figure, side) for side in SIDES if side in column.sides}
        rows.append(record)
    whole = {
        "table": table.name,
        "title": table.title,
        "comparable": table.comparable,
        "columns": {column.name: column.heading for column in table.columns},
        "rows": rows,
        "notes": list(table.notes),
    }
    return json.dumps(whole, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


FORMS = {"md": as_markdown, "csv": as_csv, "tex": as_latex, "json": as_json}


def _plain(text: str) -> str:
    """A cell that neither ends its row nor begins another column."""
    return re.sub(r"\s+", " ", text).replace("\\", "\\\\").replace("|", "\\|")


def _latex_body(cells: Grid) -> Iterable[str]:
    for group, rows in groupby(cells.rows, key=lambda row: row[0]):
        yield "\\midrule"
        if group:
            yield f"\\multicolumn{{{len(cells.header)}}}{{l}}{{\\textit{{{_latex(group)}}}}} \\\\"
        yield from (_latex_row(cells) for _, cells in rows)


def _latex_row(cells: Iterable[str]) -> str:
    return " & ".join(map(_latex, cells)) + " \\\\"


def _latex(text: str) -> str:
    return "".join(LATEX.get(mark, mark) for mark in re.sub(r"\s+", " ", text))
