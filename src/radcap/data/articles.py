"""The article that each image was taken from: images of one article are no independent samples."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from radcap import files
from radcap.errors import UserError

# ROCOv2's columns are ID, PMCID, Attribution, Link.
SOURCE, ID, ARTICLE = "license_information.csv", "ID", "PMCID"


def read_source(root: Path) -> dict[str, str]:
    """{image id: PMCID} of a folder in ROCOv2's layout; empty where it has no such file, or no such column in it."""
    path = root / SOURCE
    if not path.exists():
        return {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, strict=True)
            if not {ID, ARTICLE} <= set(reader.fieldnames or ()):
                return {}
            return {row[ID]: row[ARTICLE].strip() for row in reader if (row[ARTICLE] or "").strip()}
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 (byte {error.start})") from None
    except csv.Error as error:
        raise UserError(f"{path}: {error}") from None


def write(path: Path, articles: Mapping[str, str]) -> None:
    """A CSV file with a line per image whose article is known."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([ID, ARTICLE])
    writer.writerows(articles.items())
    files.write_text(path, buffer.getvalue())


def read(path: Path, ids: Sequence[str]) -> list[str | None] | None:
    """The article of each image, None where it is not known; None for all where none is. UserError: no such file."""
    if not path.exists():
        raise UserError(f"{path} not found; `dvc repro prepare` makes it")
    return by_image(parse(path.read_text(encoding="utf-8")), ids)


def parse(text: str) -> dict[str, str]:
    """{image id: PMCID} of a file that `write` wrote."""
    return {row[ID]: row[ARTICLE] for row in csv.DictReader(io.StringIO(text, newline=""))}


def by_image(known: Mapping[str, str], ids: Sequence[str]) -> list[str | None] | None:
    """The article of each image, None where it is not known; None for all where none is."""
    known_articles = [known.get(id_) for id_ in ids]
    return known_articles if any(known_articles) else None
