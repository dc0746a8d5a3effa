"""Pictures of the gallery: made small, then put into the page, beside it, or left out, by their total size."""

from __future__ import annotations

import base64
import io
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from radcap.data.images import BadImage, open_rgb

# Pixels of the longer side: what an example is shown at. A JPEG's quality at which greys show no blocks.
SIDE, QUALITY = 384, 85
NOTES = {
    "beside": "lie in the folder beside this page, which has to move with it",
    "left_out": "are left out, beyond the limits of the page's size",
    "unreadable": "cannot be read",
}


@dataclass
class Placed:
    """Where each picture is: a data URL, a path relative to the page, or "". `sizes`: [width, height] per picture."""

    sources: list[str] = field(default_factory=list)
    sizes: list[tuple[int, int]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, where: str, source: str, size: tuple[int, int]) -> None:
        self.counts[where] += 1
        self.sources.append(source)
        self.sizes.append(size)

    def notes(self) -> list[str]:
        """A line for each kind of picture that is not in the page itself."""
        return [
            f"{self.counts[where]:,} of {len(self.sources):,} images {what}."
            for where, what in NOTES.items()
            if self.counts[where]
        ]


def place(pictures: Iterable[bytes], folder: Path, *, name: str, page_bytes: int, file_bytes: int) -> Placed:
    """Make pictures small; embed up to `page_bytes` in all, write the next into the folder up to `file_bytes` in all.

    In this order: once one does not fit, those after it go the same way. `name` is the folder's in the page.
    """
    placed = Placed()
    for number, data in enumerate(pictures):
        try:
            small, kind, size = shrink(data)
        except BadImage:
            placed.add("unreadable", "", (0, 0))
            continue
        url = f"data:image/{kind};base64,{base64.b64encode(small).decode('ascii')}"
        page_bytes -= len(url)
        if page_bytes >= 0:
            placed.add("embedded", url, size)
            continue
        file_bytes -= len(small)
        if file_bytes >= 0:
            (folder / f"{number:06d}.{kind}").write_bytes(small)
            placed.add("beside", f"{name}/{number:06d}.{kind}", size)
        else:
            placed.add("left_out", "", size)
    return placed


def shrink(data: bytes) -> tuple[bytes, str, tuple[int, int]]:
    """(bytes, "png" or "jpeg", (width, height)): fitted into SIDE x SIDE, in the format that takes fewer bytes."""
    image = open_rgb(data)
    red, green, blue = image.split()
    if red.tobytes() == green.tobytes() == blue.tobytes():
        image = red
    image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    jpeg, png = io.BytesIO(), io.BytesIO()
    image.save(jpeg, "JPEG", quality=QUALITY, optimize=True)
    # Flat pictures alone are shorter as PNG, at any level; the first takes a fifth of the time.
    image.save(png, "PNG", compress_level=1)
    if len(png.getvalue()) <= len(jpeg.getvalue()):
        return png.getvalue(), "png", image.size
    return jpeg.getvalue(), "jpeg", image.size
