"""ImageCLEF caption submissions: a file by the rules of the 2026 edition, and every fault of anyone's file.

The header is ID,Caption; each id of the ground truth stands there once and in its order, with one caption on one
line. UTF-8 without BOM, \\n line ends, no blank line, and nothing in a caption at which str.splitlines would split.
"""

import csv
import io
import re
from codecs import BOM_UTF8
from collections.abc import Iterator, Sequence
from pathlib import Path

from radcap import files
from radcap.caption.records import Caption, read_captions
from radcap.errors import UserError

HEADER = "ID,Caption"
# All that str.splitlines takes for the end of a line.
_BREAK = re.compile("\r\n|[\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029]")


def write(path: Path, ids: Sequence[str], captions: Sequence[str]) -> int:
    """Write a submission in the order given, every field quoted; return how many captions had to be changed."""
    cleaned = [clean(caption) for caption in captions]
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerows(zip(ids, cleaned, strict=True))
    files.write_text(path, f"{HEADER}\n{text.getvalue()}")
    return sum(new != old for new, old in zip(cleaned, captions, strict=True))


def clean(caption: str) -> str:
    """A caption on one line of valid text: a line break of any kind becomes one blank, half a surrogate pair "?"."""
    return _BREAK.sub(" ", caption).encode("utf-8", "replace").decode("utf-8")


def generated(path: Path, ids: Sequence[str]) -> list[Caption]:
    """A variant's generated captions. UserError: there are none, or they are not those of the ids, in their order."""
    stage = f"generate@{path.parent.name}"
    if not path.exists():
        there = ", ".join(sorted(other.stem for other in path.parent.glob("*.jsonl")))
        raise UserError(f"{path} not found; " + (f"variants there: {there}" if there else f"run `dvc repro {stage}`"))
    made = read_captions(path)
    if [caption.id for caption in made] != list(ids):
        raise UserError(f"{path}: ids differ from the test split's; run `dvc repro {stage}`")
    return made


def check(path: Path, ids: Sequence[str]) -> list[str]:
    """Every fault of a submission, one line each: missing ids, then the file's order. None if it may be submitted.

    ids are the ground truth's. An empty caption is no fault, nor is one without quotes as long as it has no comma.
    UserError where the file cannot be read.
    """
    rank = {id_: number for number, id_ in enumerate(ids)}
    (head, *lines), faults = _lines(path)
    if head != HEADER:
        faults.append((1, f"the header is {_shown(head)}; it must be {HEADER!r}"))
    # Where the header is missing, line 1 is a row like the others.
    rows = _rows([head, *lines], rank, 1) if _first_cell(head) in rank else _rows(lines, rank, 2)
    seen: dict[str, int] = {}
    before = ""
    for number, text in rows:
        if not text.strip():
            faults.append((number, "blank line"))
            continue
        id_, mistakes = _row(text)
        if id_ not in rank:
            mistakes.append(f"id {_shown(id_)} is not in the ground truth")
        elif id_ in seen:
            mistakes.append(f"id {_shown(id_)} is there twice, first in line {seen[id_]}")
        else:
            if before and rank[id_] < rank[before]:
                mistakes.append(f"id {_shown(id_)} must stand before {_shown(before)}, as in the ground truth")
            seen[id_], before = number, id_
        faults += [(number, mistake) for mistake in mistakes]
    absent = [id_ for id_ in ids if id_ not in seen]
    told = [f"{len(absent)} of the ground truth's {len(ids)} ids missing, first {_shown(absent[0])}"] if absent else []
    return told + [f"line {number}: {fault}" for number, fault in sorted(faults, key=lambda fault: fault[0])]


def _lines(path: Path) -> tuple[list[str], list[tuple[int, str]]]:
    """A file's lines as text, and the faults of its encoding and line ends."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    faults = [(1, "the file begins with a BOM; it must be UTF-8 without")] if data.startswith(BOM_UTF8) else []
    raw = data.removeprefix(BOM_UTF8).removesuffix(b"\n").split(b"\n")
    if carriage := [number for number, line in enumerate(raw, 1) if line.endswith(b"\r")]:
        faults.append((carriage[0], f"line end \\r\\n, here and in {len(carriage) - 1} more lines; it must be \\n"))
    for number, line in enumerate(raw, 1):
        try:
            line.decode("utf-8")
        except UnicodeDecodeError as error:
            faults.append((number, f"not UTF-8 (byte {error.start} of the line is 0x{line[error.start]:02x})"))
    return [line.removesuffix(b"\r").decode("utf-8", "replace") for line in raw], faults


def _rows(lines: Sequence[str], known: dict[str, int], first: int) -> Iterator[tuple[int, str]]:
    """(line number, text) of each row. A row goes on after an open quote, but never over a line with an id."""
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


def _row(text: str) -> tuple[str, list[str]]:
    """A row's id, and what is wrong with its form."""
    mistakes = []
    if breaks := sorted(set("".join(_BREAK.findall(text)))):
        names = ", ".join(f"U+{ord(character):04X}" for character in breaks)
        mistakes.append(f"line break inside the row ({names})")
    try:
        cells = next(csv.reader([_BREAK.sub(" ", text)], strict=True))
    except csv.Error as error:
        mistakes.append(f"no CSV ({error}); a double quote inside a quoted caption must be doubled")
        return _first_cell(text), mistakes
    if len(cells) != 2:
        hint = "; a caption with a comma must be in double quotes" if len(cells) > 2 else ""
        mistakes.append(f"{len(cells)} cell{'s' if len(cells) > 1 else ''} instead of 2{hint}")
    return cells[0], mistakes


def _first_cell(line: str) -> str:
    return line.split(",", 1)[0].removeprefix('"').removesuffix('"')


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")
