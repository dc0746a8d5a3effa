"""Anyone's captions against references: two CSV files in ImageCLEF's form, and a folder of images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from radcap.data.folder import SUFFIXES, read_csv
from radcap.errors import UserError

HEADER = ("ID", "Caption")


@dataclass(frozen=True)
class Paired:
    """Captions side by side, in the references' order; `images` are files' bytes, None where an id has no file."""

    ids: list[str]
    candidates: list[str]
    references: list[str]
    images: Pictures | None


@dataclass(frozen=True)
class Pictures(Sequence[bytes | None]):
    """Files' bytes, read when they are asked for."""

    paths: list[Path | None]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: Any) -> Any:
        path = self.paths[index]
        return path.read_bytes() if path else None


def pair(candidates: Path, references: Path, images: Path | None = None) -> Paired:
    """Read both files. UserError: ids that differ or repeat, a row that is not two cells, no such file or folder."""
    given, wanted = read_captions(candidates), read_captions(references)
    if absent := wanted.keys() - given.keys():
        raise UserError(f"{candidates} lacks {len(absent)} of the ids of {references}, first {min(absent)!r}")
    if unknown := given.keys() - wanted.keys():
        raise UserError(f"{candidates} holds {len(unknown)} ids that {references} has not, first {min(unknown)!r}")
    if not wanted:
        raise UserError(f"{references} holds no caption")
    ids = list(wanted)
    pictures = None if images is None else _images(images, ids)
    return Paired(ids, [given[id_] for id_ in ids], [wanted[id_] for id_ in ids], pictures)


def read_captions(path: Path) -> dict[str, str]:
    """{id: caption as written}, in the file's order."""
    found: dict[str, str] = {}
    for line, cells in read_csv(path, HEADER):
        if len(cells) != len(HEADER):
            raise UserError(f"{path}, line {line}: row has {len(cells)} cells instead of 2")
        if cells[0] in found:
            raise UserError(f"{path}, line {line}: id {cells[0]!r} is there twice")
        found[cells[0]] = cells[1]
    return found


def _images(folder: Path, ids: list[str]) -> Pictures:
    if not folder.is_dir():
        raise UserError(f"folder of images {str(folder)!r} does not exist")
    files = {path.stem: path for path in sorted(folder.iterdir()) if path.suffix.lower() in SUFFIXES}
    if not files.keys() & set(ids):
        raise UserError(f"{folder} holds no image <ID>.png, .jpg, ... of any id")
    return Pictures([files.get(id_) for id_ in ids])
