"""One memory-mapped Arrow file per split: image bytes, captions and concepts of each row."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from radcap import files
from radcap.errors import UserError

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True, kw_only=True)
class Row:
    """One captioned image. `caption` is cleaned; `raw_caption` is the source's, which evaluators score against."""

    id: str
    image: bytes
    caption: str
    raw_caption: str
    cuis: tuple[str, ...]
    width: int
    height: int
    sha256: str


def write(path: Path, rows: Iterable[Row]) -> int:
    """Write rows in the order given and return their number. The same rows give the same bytes."""
    from datasets import Features, List, Value
    from datasets.arrow_writer import ArrowWriter

    text, number = Value("string"), Value("int32")
    columns = {"id": text, "image": Value("binary"), "caption": text, "raw_caption": text, "cuis": List(text)}
    features = Features({**columns, "width": number, "height": number, "sha256": text})
    with files.atomic_file(path) as beside:
        writer = ArrowWriter(path=str(beside), features=features, writer_batch_size=100)
        for row in rows:
            writer.write({**asdict(row), "cuis": list(row.cuis)})
        written, _ = writer.finalize()
    return int(written)


def read(path: Path) -> Dataset:
    """Memory-map a split: indexing reads one row from disk. UserError where prepare has not run."""
    from datasets import Dataset

    if not path.exists():
        raise UserError(f"{path} not found; `dvc repro prepare` makes it")
    return Dataset.from_file(str(path))
