"""What the page shows, before it is HTML. All text is plain text and may come from anywhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of cells: numbers, or text such as "1,204.5", "+3.1 %", "0.41 [0.38, 0.44]"; None is missing.

    A column whose cells are all numbers in one unit is set right and sorts by value; others sort as text. A row of
    one cell, in a wider table, is the heading of a group of rows, which goes while the table is sorted.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str | float | None]]
    caption: str = ""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """An SVG or PNG file's bytes, what it shows in words (`alt`), and an optional line beneath."""

    data: bytes
    alt: str
    caption: str = ""


@dataclass(frozen=True, kw_only=True)
class Section:
    """A heading (level 2, or 3 below one) and what stands under it, in order.

    Text is paragraphs parted by blank lines; lines that begin with "- " are a list.
    """

    heading: str
    parts: Sequence[str | Table | Picture] = ()
    level: int = 2


@dataclass(frozen=True, kw_only=True)
class Run:
    """One model's captions of the gallery's images under one variant, in the gallery's order.

    `cut`: whether a caption ended at the token limit. `scores`: {metric: a number or None per caption}.
    `concepts`: CUIs found per caption, or None where concepts were not looked for.
    """

    model: str
    variant: str
    captions: Sequence[str]
    cut: Sequence[bool] = ()
    scores: Mapping[str, Sequence[float | None]] = field(default_factory=dict)
    concepts: Sequence[Sequence[str]] | None = None


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """The test images with their references and every run's captions. Columns have one entry per id, or are empty.

    `images`: encoded image files. `modality`: a label per image, "" for none; `predicted`: the classifier's label
    and its probability. `concepts`: CUIs found per reference. `names`: {CUI: name}. `runs` may be a generator: they are
    taken one at a time. `notes`: what is missing, a line each.
    """

    ids: Sequence[str]
    references: Sequence[str]
    images: Iterable[bytes] = ()
    modality: Sequence[str] = ()
    predicted: Sequence[tuple[str, float]] = ()
    concepts: Sequence[Sequence[str]] = ()
    names: Mapping[str, str] = field(default_factory=dict)
    runs: Iterable[Run] = ()
    notes: Sequence[str] = ()
