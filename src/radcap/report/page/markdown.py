"""The pipeline's own reports (Markdown of headings, paragraphs, lists, tables and pictures) as sections of the page."""

import re
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from radcap.report.page.content import Picture, Section, Table

_HEADING = re.compile(r"(#{1,6})\s+(.*)")
_PICTURE = re.compile(r"!\[([^\]]*)\]\(([^)\s]+)\)")
_RULE = re.compile(r"\|[\s:|-]+\|")
_LINK = re.compile(r"\[([^\]]+)\]\([^)]+\)")


def sections(path: Path) -> list[Section]:
    """A file's sections: level 2 under a heading of one #, level 3 under a deeper one.

    Pictures are read from beside the file; one that is not there is told in words.
    """
    sections_found: list[Section] = []
    heading, level, lines, is_written = path.stem.replace("_", " ").capitalize(), 2, list[str](), False
    for line in [*path.read_text(encoding="utf-8").splitlines(), "# end"]:
        match = _HEADING.fullmatch(line)
        if not match:
            lines.append(line)
            continue
        # A heading may stand over others alone; what the file's name stands for may be nothing.
        if (parts := list(_parts(lines, path.parent))) or is_written:
            sections_found.append(Section(heading=heading, parts=parts, level=level))
        heading, level, lines, is_written = _plain(match[2]), 2 if match[1] == "#" else 3, [], True
    return sections_found


def _parts(lines: list[str], folder: Path) -> Iterator[str | Table | Picture]:
    for kind, group in groupby(lines, key=_kind):
        if kind == "table":
            yield _table(list(group))
        elif kind == "picture":
            yield from (_picture(line, folder) for line in group)
        elif text := "\n".join(map(_plain, group)).strip():
            yield text


def _kind(line: str) -> str:
    if line.startswith("|"):
        return "table"
    return "picture" if _PICTURE.fullmatch(line.strip()) else "text"


def _table(lines: list[str]) -> Table:
    """Rows short of cells are filled up: Markdown allows them. One with a bold cell alone is a group's heading."""
    header, *rows = [_cells(line) for line in lines if not _RULE.fullmatch(line.strip())]
    return Table(header=[_plain(cell) for cell in header], rows=[_row(cells, len(header)) for cells in rows])


def _row(cells: list[str], width: int) -> list[str]:
    if re.fullmatch(r"\*\*.+\*\*", cells[0]) and not any(cells[1:]):
        return [_plain(cells[0])]
    return [_plain(cell) for cell in (cells + [""] * width)[:width]]


def _cells(line: str) -> list[str]:
    inner = line.strip().removeprefix("|").removesuffix("|")
    return [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", inner)]


def _picture(line: str, folder: Path) -> str | Picture:
    match = _PICTURE.fullmatch(line.strip())
    assert match, line
    path = folder / match[2]
    return Picture(data=path.read_bytes(), alt=match[1]) if path.is_file() else f"{match[2]} is not there."


def _plain(text: str) -> str:
    """Without the marks of links, code and bold."""
    return _LINK.sub(r"\1", text).replace("**", "").replace("`", "")
