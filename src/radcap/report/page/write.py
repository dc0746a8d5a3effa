"""The page as one file: HTML, style and script from this folder, sections, and the gallery's data."""

from __future__ import annotations

import base64
import hashlib
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from radcap import files
from radcap.report.page import data, images
from radcap.report.page.content import Gallery, Section
from radcap.report.page.sections import navigation, render
from radcap.runtime.progress import track

OWN = Path(__file__).parent
# In this order: each uses what those before it export.
SCRIPTS = ("dom.js", "tables.js", "words.js", "data.js", "list.js", "example.js", "gallery.js")
IMAGES = "images"


@dataclass(frozen=True, kw_only=True)
class Written:
    """What a page came to: its bytes, and a line for each thing that its gallery lacks."""

    size: int
    notes: list[str]


def write(
    out: Path,
    *,
    title: str,
    sections: Sequence[Section],
    gallery: Gallery,
    image_limit_bytes: int,
    file_limit_bytes: int = 0,
    notes: Sequence[str] = (),
) -> Written:
    """Write the page. The same content gives the same bytes.

    Pictures are embedded up to `image_limit_bytes` in all, as data URLs; those beyond it are files in the folder
    `images` beside the page, which is the page's own, up to `file_limit_bytes`; the rest is left out, and the page says
    so. `notes` are warnings, shown above all else.
    """
    folder = out.parent / IMAGES
    with files.atomic_folder(folder) as beside, files.atomic_file(out) as page:
        pictures = track(gallery.images, total=len(gallery.ids), label="images of the page")
        placed = images.place(pictures, beside, name=IMAGES, page_bytes=image_limit_bytes, file_bytes=file_limit_bytes)
        lacking = [*gallery.notes, *placed.notes()]
        fields = {
            "title": escape(title),
            "notes": "".join(f"<p>{escape(note)}</p>" for note in notes),
            "navigation": navigation(sections),
            "sections": render(sections),
            "lacking": "".join(f"<li>{escape(note)}</li>" for note in lacking),
        }
        before, after = _frame(fields)
        with page.open("w", encoding="utf-8", errors="replace", newline="\n") as stream:
            stream.write(before)
            stream.writelines(data.blocks(gallery, placed))
            stream.write(after)
        size = page.stat().st_size
    if not placed.counts["beside"]:
        shutil.rmtree(folder)
    return Written(size=size, notes=lacking)


def bundle() -> str:
    """The script: this folder's modules, one after another, without the lines that tie them together."""
    text = "\n".join((OWN / name).read_text(encoding="utf-8") for name in SCRIPTS)
    return re.sub(r"^(import [^;]*;\n|export )", "", text, flags=re.MULTILINE)


def _frame(fields: Mapping[str, str]) -> tuple[str, str]:
    """The page up to its data, and after it. What may run or style is named by its hash: no other script can."""
    style, script = (OWN / "page.css").read_text(encoding="utf-8"), bundle()
    placeholders = {"style": style, "script": script, "style_hash": _hash(style), "script_hash": _hash(script)}
    filled = {**fields, **placeholders}
    halves = (OWN / "page.html").read_text(encoding="utf-8").split("{{data}}")
    # In one pass: what fills a field is not searched for fields.
    before, after = (re.sub(r"{{(\w+)}}", lambda match: filled[match[1]], half) for half in halves)
    return before, after


def _hash(text: str) -> str:
    """A content security policy's name for an inline script or style."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
