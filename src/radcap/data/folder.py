"""A folder in ROCOv2's / ImageCLEF's layout: {split}_captions.csv, {split}_concepts.csv, one image file per id.

Images lie in {split}/, {split}_images/ or {split}_images/{split}/ as <ID>.<jpg, png, ...>. Nothing is
skipped in silence: every row of a captions file comes out as a Row or as a QuarantinedRow row with a reason.
"""

import csv
import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from radcap.data import cleaning, images
from radcap.data.store import Row
from radcap.errors import UserError

SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp", ".gif")
# A caption may be long, but a cell this long is a file with broken quotes.
csv.field_size_limit(1_000_000)


@dataclass(frozen=True)
class QuarantinedRow:
    """A row left out, for quarantine.csv: the line of the captions file, the id as written there, and why."""

    line: int
    id: str
    reason: str


@dataclass(frozen=True)
class _Candidate:
    line: int
    id: str
    caption: str
    image: Path
    cuis: tuple[str, ...]


def read_rows(root: Path, split: str) -> Iterator[Row | QuarantinedRow]:
    """All rows of a split in the order of its captions file. UserError for what makes the folder unusable."""
    candidates = _candidates(root, split)
    # Reading and decoding release the interpreter lock; a window keeps memory flat and the order fixed.
    with ThreadPoolExecutor() as pool:
        while window := list(islice(candidates, 256)):
            yield from pool.map(_finish, window)


def _candidates(root: Path, split: str) -> Iterator[_Candidate | QuarantinedRow]:
    if not root.is_dir():
        raise UserError(f"data.path: folder {str(root)!r} does not exist")
    rows = read_csv(root / f"{split}_captions.csv", ("ID", "Caption"))
    pictures = _image_index(_image_folder(root, split))
    concepts = _concepts(root / f"{split}_concepts.csv")
    seen: set[str] = set()
    for line, cells in rows:
        if len(cells) != 2:
            yield QuarantinedRow(line, cells[0][:200] if cells else "", f"row has {len(cells)} cells instead of 2")
            continue
        id_, caption = cells
        matches = pictures.get(id_, [])
        reason = _reason(id_, caption, matches, seen)
        seen.add(id_)
        yield (
            QuarantinedRow(line, id_, reason)
            if reason
            else _Candidate(line, id_, caption, matches[0], concepts.get(id_, ()))
        )


def _reason(id_: str, caption: str, matches: list[Path], seen: set[str]) -> str | None:
    if not cleaning.is_plain_id(id_):
        return "id is no plain file name"
    if id_ in seen:
        return "duplicate id"
    if not cleaning.clean_caption(caption):
        return "caption is empty"
    if len(matches) != 1:
        return "several image files" if matches else "image is missing"
    return None


def _finish(candidate: _Candidate | QuarantinedRow) -> Row | QuarantinedRow:
    if isinstance(candidate, QuarantinedRow):
        return candidate
    try:
        data = candidate.image.read_bytes()
        width, height, _ = images.check(data)
    except images.BadImage as error:
        return QuarantinedRow(candidate.line, candidate.id, str(error))
    except OSError as error:
        return QuarantinedRow(candidate.line, candidate.id, f"image cannot be read: {error.strerror}")
    return Row(
        id=candidate.id,
        image=data,
        caption=cleaning.clean_caption(candidate.caption),
        raw_caption=candidate.caption,
        cuis=candidate.cuis,
        width=width,
        height=height,
        sha256=hashlib.sha256(data).hexdigest(),
    )


def read_csv(path: Path, header: tuple[str, ...]) -> Iterator[tuple[int, list[str]]]:
    """(line number, cells) of a CSV file below its exact header. UserError: missing file, header, encoding, quotes."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, strict=True)
            first = next(reader, [])
            if tuple(first) != header:
                raise UserError(f"{path}: first line is {','.join(first)[:80]!r}; it must be {','.join(header)!r}")
            for cells in reader:
                yield reader.line_num, cells
    except FileNotFoundError:
        raise UserError(f"{path} not found") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 (byte {error.start})") from None
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: {error}") from None


def _image_folder(root: Path, split: str) -> Path:
    places = [root / f"{split}_images" / split, root / f"{split}_images", root / split]
    for place in places:
        if place.is_dir():
            return place
    raise UserError(f"no folder of images for {split}: none of {', '.join(map(str, places))} exists")


def _image_index(folder: Path) -> dict[str, list[Path]]:
    index: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in SUFFIXES:
            index.setdefault(path.stem, []).append(path)
    return index


def _concepts(path: Path) -> dict[str, tuple[str, ...]]:
    if not path.exists():
        return {}
    cuis_of: dict[str, tuple[str, ...]] = {}
    for line, cells in read_csv(path, ("ID", "CUIs")):
        if len(cells) != 2:
            raise UserError(f"{path}, line {line}: row has {len(cells)} cells instead of 2")
        cuis_of[cells[0]] = tuple(dict.fromkeys(cui.strip() for cui in cells[1].split(";") if cui.strip()))
    return cuis_of
