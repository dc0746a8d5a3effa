"""ImageCLEF's caption files (ID,Caption): written for a submission, checked by the rules of 2026, and read for scoring.

The rules: the header is ID,Caption. Each id of the ground truth occurs once, in the order of the ground truth, with one
caption on one line. UTF-8 without BOM, \\n line ends, no blank line, and nothing in a caption at which str.splitlines
splits.
"""

from __future__ import annotations

import csv
import io
import re
from codecs import BOM_UTF8
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from radcap import files
from radcap.caption.records import Caption, read_captions
from radcap.data.folder import SUFFIXES, read_csv
from radcap.errors import UserError

COLUMNS = ("ID", "Caption")
HEADER = ",".join(COLUMNS)
# Everything that str.splitlines takes for a line end.
_LINE_BREAK = re.compile("\r\n|[\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029]")


def write(path: Path, ids: Sequence[str], captions: Sequence[str]) -> int:
    """Write a submission in the given order, with all fields quoted; return how many captions had to be changed."""
    cleaned = [clean(caption) for caption in captions]
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerows(zip(ids, cleaned, strict=True))
    files.write_text(path, f"{HEADER}\n{text.getvalue()}")
    return sum(new != old for new, old in zip(cleaned, captions, strict=True))


def clean(caption: str) -> str:
    """The caption on one line of valid text: each line break becomes a blank, each lone surrogate "?"."""
    return _LINE_BREAK.sub(" ", caption).encode("utf-8", "replace").decode("utf-8")


def read_generated(path: Path, ids: Sequence[str]) -> list[Caption]:
    """The generated captions of a variant. UserError: there are none, or their ids are not `ids`, in this order."""
    stage = f"generate@{path.parent.name}"
    if not path.exists():
        others = ", ".join(sorted(other.stem for other in path.parent.glob("*.jsonl")))
        raise UserError(f"{path} not found; " + (f"variants there: {others}" if others else f"run `dvc repro {stage}`"))
    captions = read_captions(path)
    if [caption.id for caption in captions] != list(ids):
        raise UserError(f"{path}: ids differ from the test split's; run `dvc repro {stage}`")
    return captions


def check(path: Path, ids: Sequence[str]) -> list[str]:
    """All faults of a submission, one line each: first missing ids, then by line number. Empty if it may be submitted.

    `ids`: the ground truth's. An empty caption is not a fault, and neither is one without quotes and without commas.
    UserError: the file cannot be read.
    """
    rank = {id_: number for number, id_ in enumerate(ids)}
    (head, *lines), faults = _read_lines(path)
    if head != HEADER:
        faults.append((1, f"the header is {_shorten(head)}; it must be {HEADER!r}"))
    # If the header is missing, line 1 is a row like the others.
    rows = _rows([head, *lines], rank, 1) if _first_cell(head) in rank else _rows(lines, rank, 2)
    seen: dict[str, int] = {}
    previous = ""
    for number, text in rows:
        if not text.strip():
            faults.append((number, "blank line"))
            continue
        id_, row_faults = _parse_row(text)
        if id_ not in rank:
            row_faults.append(f"id {_shorten(id_)} is not in the ground truth")
        elif id_ in seen:
            row_faults.append(f"id {_shorten(id_)} is there twice, first in line {seen[id_]}")
        else:
            if previous and rank[id_] < rank[previous]:
                row_faults.append(f"id {_shorten(id_)} must stand before {_shorten(previous)}, as in the ground truth")
            seen[id_], previous = number, id_
        faults += [(number, fault) for fault in row_faults]
    missing = [id_ for id_ in ids if id_ not in seen]
    summary = (
        [f"{len(missing)} of the ground truth's {len(ids)} ids missing, first {_shorten(missing[0])}"]
        if missing
        else []
    )
    return summary + [f"line {number}: {fault}" for number, fault in sorted(faults, key=lambda fault: fault[0])]


def _read_lines(path: Path) -> tuple[list[str], list[tuple[int, str]]]:
    """The lines of a file as text, and the faults of its encoding and line ends."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    faults = [(1, "the file begins with a BOM; it must be UTF-8 without")] if data.startswith(BOM_UTF8) else []
    raw = data.removeprefix(BOM_UTF8).removesuffix(b"\n").split(b"\n")
    if with_carriage_return := [number for number, line in enumerate(raw, 1) if line.endswith(b"\r")]:
        more = len(with_carriage_return) - 1
        faults.append((with_carriage_return[0], f"line end \\r\\n, here and in {more} more lines; it must be \\n"))
    for number, line in enumerate(raw, 1):
        try:
            line.decode("utf-8")
        except UnicodeDecodeError as error:
            faults.append((number, f"not UTF-8 (byte {error.start} of the line is 0x{line[error.start]:02x})"))
    return [line.removesuffix(b"\r").decode("utf-8", "replace") for line in raw], faults


def _rows(lines: Sequence[str], known: dict[str, int], first: int) -> Iterator[tuple[int, str]]:
    """(line number, text) of each row. An open quote continues a row, but never over a line that begins with an id."""
    start, row, is_open = first, list[str](), False
    for number, line in enumerate(lines, first):
        odd = line.count('"') % 2 == 1
        if is_open and _first_cell(line) not in known:
            row.append(line)
            is_open = is_open != odd
            continue
        if row:
            yield start, "\n".join(row)
        start, row, is_open = number, [line], odd and (line.startswith('"') or ',"' in line)
    if row:
        yield start, "\n".join(row)


def _parse_row(text: str) -> tuple[str, list[str]]:
    """The id of a row, and the faults of its form."""
    faults = []
    if breaks := sorted(set("".join(_LINE_BREAK.findall(text)))):
        names = ", ".join(f"U+{ord(character):04X}" for character in breaks)
        faults.append(f"line break inside the row ({names})")
    try:
        cells = next(csv.reader([_LINE_BREAK.sub(" ", text)], strict=True))
    except csv.Error as error:
        faults.append(f"not CSV ({error}); a double quote inside a quoted caption must be doubled")
        return _first_cell(text), faults
    if len(cells) != 2:
        hint = "; a caption with a comma must be in double quotes" if len(cells) > 2 else ""
        faults.append(f"{len(cells)} cell{'s' if len(cells) > 1 else ''} instead of 2{hint}")
    return cells[0], faults


def _first_cell(line: str) -> str:
    return line.split(",", 1)[0].removeprefix('"').removesuffix('"')


def _shorten(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")


@dataclass(frozen=True)
class ScoringInputs:
    """Candidates and references, both in the order of the references. `images`: the bytes of a file for each id."""

    ids: list[str]
    candidates: list[str]
    references: list[str]
    images: ImageFiles | None


@dataclass(frozen=True)
class ImageFiles(Sequence[bytes | None]):
    """The bytes of image files, each read when it is accessed; None for an id without a file."""

    paths: list[Path | None]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: Any) -> Any:
        path = self.paths[index]
        return path.read_bytes() if path else None


def read_scoring_inputs(candidates: Path, references: Path, images: Path | None = None) -> ScoringInputs:
    """Read two caption files and a folder of images.

    UserError: a file or folder is missing, ids differ or repeat, or a row does not have two cells.
    """
    candidate_captions, reference_captions = read_submission(candidates), read_submission(references)
    if missing := reference_captions.keys() - candidate_captions.keys():
        raise UserError(f"{candidates} lacks {len(missing)} of the ids of {references}, first {min(missing)!r}")
    if unknown := candidate_captions.keys() - reference_captions.keys():
        raise UserError(f"{candidates} has {len(unknown)} ids that are not in {references}, first {min(unknown)!r}")
    if not reference_captions:
        raise UserError(f"{references} holds no caption")
    ids = list(reference_captions)
    return ScoringInputs(
        ids,
        [candidate_captions[id_] for id_ in ids],
        list(reference_captions.values()),
        None if images is None else _find_images(images, ids),
    )


def read_submission(path: Path) -> dict[str, str]:
    """{id: caption as written}, in the order of the file."""
    captions: dict[str, str] = {}
    for line, cells in read_csv(path, COLUMNS):
        if len(cells) != len(COLUMNS):
            raise UserError(f"{path}, line {line}: row has {len(cells)} cells instead of 2")
        if cells[0] in captions:
            raise UserError(f"{path}, line {line}: id {cells[0]!r} is there twice")
        captions[cells[0]] = cells[1]
    return captions


def _find_images(folder: Path, ids: list[str]) -> ImageFiles:
    if not folder.is_dir():
        raise UserError(f"folder of images {str(folder)!r} does not exist")
    paths = {path.stem: path for path in sorted(folder.iterdir()) if path.suffix.lower() in SUFFIXES}
    if not paths.keys() & set(ids):
        raise UserError(f"{folder} has no image <ID>.png, .jpg, ... for any id")
    return ImageFiles([paths.get(id_) for id_ in ids])
