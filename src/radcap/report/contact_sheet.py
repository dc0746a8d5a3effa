"""A contact sheet: pictures of a split with their captions, to look at what the models see."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw

from radcap.data.images import open_rgb

if TYPE_CHECKING:
    from datasets import Dataset

SIDE, TEXT, MARGIN = 200, 78, 8


def contact_sheet(rows: Dataset, indices: Iterable[int], *, columns: int = 5) -> Image.Image:
    """One cell per row: the picture fitted into 200 x 200 pixels, id and caption beneath (cut to five lines)."""
    cells = [_cell(rows[index]) for index in indices]
    lines = -(-len(cells) // columns)
    width, height = SIDE + 2 * MARGIN, SIDE + TEXT + 2 * MARGIN
    sheet = Image.new("RGB", (columns * width, lines * height), "white")
    for number, cell in enumerate(cells):
        sheet.paste(cell, ((number % columns) * width, (number // columns) * height))
    return sheet


def _cell(row: dict[str, object]) -> Image.Image:
    cell = Image.new("RGB", (SIDE + 2 * MARGIN, SIDE + TEXT + 2 * MARGIN), "white")
    picture = open_rgb(row["image"])  # type: ignore[arg-type]
    picture.thumbnail((SIDE, SIDE))
    cell.paste(picture, (MARGIN + (SIDE - picture.width) // 2, MARGIN + (SIDE - picture.height) // 2))
    text = [str(row["id"]), *textwrap.wrap(str(row["caption"]), 38)[:5]]
    ImageDraw.Draw(cell).multiline_text((MARGIN, SIDE + MARGIN + 2), "\n".join(text), fill="black", font_size=10)
    return cell
