"""Sections as HTML that reads and prints without a script; everything from outside is escaped here."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterable, Sequence
from html import escape
from itertools import groupby

from radcap.report.page.content import Picture, Section, Table

_NUMBER = re.compile(r"[<>=~≈ ]*([+\-−]?(?:\d[\d,]*\.?\d*|\.\d+)(?:[eE][+\-]?\d+)?)(.*)", re.DOTALL)
_MISSING = {"", "-", "–", "—", "n/a", "na", "nan", "none"}


def render(sections: Iterable[Section]) -> str:
    """The sections one after another, each with an id that the navigation links to."""
    return "".join(_section(section, number) for number, section in enumerate(sections, start=1))


def navigation(sections: Iterable[Section]) -> str:
    """A list item for each section of level 2: its heading up to the first full stop, as "Table 4"."""
    return "".join(
        f'<li><a href="#section-{number}">{escape(section.heading.split(". ")[0])}</a></li>'
        for number, section in enumerate(sections, start=1)
        if section.level == 2
    )


def paragraphs(content: str) -> str:
    """Paragraphs are parted by blank lines; lines that begin with "- " are a list."""
    blocks = []
    for block in re.split(r"\n\s*\n", content.strip()):
        for is_list, lines in groupby(block.splitlines(), key=lambda line: line.startswith("- ")):
            if is_list:
                blocks.append("<ul>" + "".join(f"<li>{escape(line[2:])}</li>" for line in lines) + "</ul>")
            elif content := escape(" ".join(lines).strip()):
                blocks.append(f"<p>{content}</p>")
    return "".join(blocks)


def _section(section: Section, number: int) -> str:
    tag = "h2" if section.level == 2 else "h3"
    parts = "".join(_part(part, section.heading) for part in section.parts)
    return f'<section id="section-{number}"><{tag}>{escape(section.heading)}</{tag}>{parts}</section>\n'


def _part(part: str | Table | Picture, heading: str) -> str:
    if isinstance(part, str):
        return paragraphs(part)
    return _table(part, heading) if isinstance(part, Table) else _picture(part)


def _table(table: Table, heading: str) -> str:
    # A group's heading has no figure, like a missing cell.
    rows = [[None] * len(table.header) if _is_group(row, table.header) else row for row in table.rows]
    values = [_values([row[place] for row in rows]) for place in range(len(table.header))]
    head = "".join(
        f'<th scope="col"{_numeric(column)}><button{_brief(name)} type="button">{escape(name)}</button></th>'
        for name, column in zip(table.header, values, strict=True)
    )
    body = "".join(_row(row, values, line) for line, row in enumerate(table.rows))
    caption = f"<caption>{escape(table.caption)}</caption>" if table.caption else ""
    label = escape(table.caption or heading)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{label}"><table>{caption}'
        f"<thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>\n"
    )


def _row(row: Sequence[str | float | None], values: Sequence[list[float | None] | None], line: int) -> str:
    if _is_group(row, values):
        return f'<tr class="group"><th scope="rowgroup" colspan="{len(values)}">{escape(_shown(row[0]))}</th></tr>\n'
    return "<tr>" + "".join(_cell(cell, column, line) for cell, column in zip(row, values, strict=True)) + "</tr>\n"


def _is_group(row: Sequence[str | float | None], columns: Sequence[object]) -> bool:
    return len(row) == 1 < len(columns)


def _cell(cell: str | float | None, column: list[float | None] | None, line: int) -> str:
    value = "" if column is None or column[line] is None else f' data-value="{column[line]!r}"'
    return f"<td{_numeric(column)}{value}>{escape(_shown(cell))}</td>"


def _numeric(column: list[float | None] | None) -> str:
    return "" if column is None else ' class="number"'


def _shown(cell: str | float | None) -> str:
    if cell is None:
        return "n/a"
    return f"{cell:.3f}" if isinstance(cell, float) else str(cell)


def _brief(heading: str) -> str:
    """What is not worth two lines."""
    return ' class="brief"' if len(heading) <= 10 else ""


def _values(cells: Sequence[str | float | None]) -> list[float | None] | None:
    """What a column sorts by, None for a missing cell; None for a column of text."""
    values = [_value(cell) for cell in cells]
    units = {unit for value, unit in values if value is not None}
    if len(units) != 1 or any(value is None and unit for value, unit in values):
        return None
    return [value for value, _ in values]


def _value(cell: str | float | None) -> tuple[float | None, str]:
    """(number, unit) of a cell; (None, "") where it is missing, (None, "text") where it is no number."""
    if cell is None or isinstance(cell, int | float):
        return (None if cell is None else float(cell)), ""
    text = cell.strip()
    if text.lower() in _MISSING:
        return None, ""
    match = _NUMBER.fullmatch(text)
    if not match:
        return None, "text"
    number = float(match[1].replace(",", "").replace("−", "-"))
    # What is left but for brackets, intervals and marks of significance: %, M, ms, ...
    return number, re.sub(r"[^%A-Za-zµ]", "", match[2])


def _picture(picture: Picture) -> str:
    width, height, kind = _size(picture.data)
    source = base64.b64encode(picture.data).decode("ascii")
    caption = f"<figcaption>{escape(picture.caption)}</figcaption>" if picture.caption else ""
    return (
        f'<figure><img src="data:{kind};base64,{source}" width="{width}" height="{height}" '
        f'alt="{escape(picture.alt)}">{caption}</figure>\n'
    )


def _size(data: bytes) -> tuple[int, int, str]:
    """(width, height, MIME type) in CSS pixels. ValueError for what is neither PNG nor an SVG with a size."""
    if data.startswith(b"\x89PNG"):
        from PIL import Image

        with Image.open(io.BytesIO(data)) as image:
            return image.width, image.height, "image/png"
    head = re.search(rb"<svg\b[^>]*>", data)
    box = head and re.search(rb'viewBox="\s*[-\d.]+[\s,]+[-\d.]+[\s,]+([\d.]+)[\s,]+([\d.]+)', head[0])
    if not box:
        raise ValueError("a picture must be a PNG, or an SVG with a viewBox")
    # A viewBox counts in user units, of which matplotlib's are points: the ratio is what matters.
    return round(float(box[1])), round(float(box[2])), "image/svg+xml"
