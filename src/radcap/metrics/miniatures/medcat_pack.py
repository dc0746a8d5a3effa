"""The miniature MedCAT pack, which holds the phantoms' lexicon."""

from __future__ import annotations

import logging
import os
import shutil
import zipfile
from datetime import datetime
from pathlib import Path
from typing import Any

import dill

from radcap import files

# Replaces the time at which a pack was saved.
SAVED = datetime(2000, 1, 1)


def build_medcat_pack(folder: Path) -> Path:
    """Write a MedCAT pack of the phantoms' lexicon, with the regex tokenizer (no spaCy model); return the .zip.

    The same lexicon gives the same bytes.
    """
    os.environ.setdefault("MEDCAT_DISABLE_VERSION_CHECK", "True")
    logging.getLogger("medcat").setLevel(logging.ERROR)
    import numpy as np
    import pandas as pd
    from medcat.cat import CAT
    from medcat.config import Config
    from medcat.model_creation.cdb_maker import CDBMaker
    from medcat.vocab import Vocab

    rows = cdb_rows()
    config = Config()
    config.general.nlp.provider = "regex"
    config.cdb_maker.min_letters_required = 1
    # Needed because "CT" has two letters, and untrained concepts have similarity -1.
    config.components.ner.min_name_len = 2
    config.components.linking.similarity_threshold = -2
    vocabulary = Vocab()
    for word in sorted({word for row in rows for word in row["name"].split()}):
        vocabulary.add_word(word, vec=np.ones(7))
    cdb = CDBMaker(config).prepare_csvs([pd.DataFrame(rows)])
    folder.mkdir(parents=True, exist_ok=True)
    saved = Path(CAT(cdb=cdb, vocab=vocabulary, config=config).save_model_pack(str(folder), make_archive=False))
    _make_reproducible(saved)
    pack = folder / "medcat.zip"
    _write_zip(saved, pack)
    shutil.rmtree(saved)
    return pack


def _make_reproducible(saved: Path) -> None:
    """Remove what differs from run to run: times, the environment, and the order of sets in pickles."""
    for path in sorted(saved.rglob("raw_dict.dat")):
        with path.open("rb") as stream:
            attributes = dill.load(stream)
        if "last_saved" in attributes:
            attributes["last_saved"] = SAVED
        if path.parent.name == "saved_environ":
            attributes = {name: type(value)() for name, value in attributes.items()}
        with path.open("wb") as stream:
            _SortedPickler(stream).dump(attributes)
    card = saved / "model_card.json"
    files.write_json(card, files.read_json(card) | {"Last Modified On": SAVED.isoformat()})


class _SortedPickler(dill.Pickler):  # type: ignore[misc]
    """Pickles sets in sorted order, because Python's order depends on the process."""

    dispatch = dill.Pickler.dispatch.copy()

    def _save_sorted(self, values: set[Any]) -> None:
        self.save_reduce(set, (sorted(values),), obj=values)

    dispatch[set] = _save_sorted


def _write_zip(folder: Path, path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                # Such an entry has the earliest date of the zip format.
                entry = zipfile.ZipInfo(file.relative_to(folder).as_posix())
                archive.writestr(entry, file.read_bytes(), zipfile.ZIP_DEFLATED)


def cdb_rows() -> list[dict[str, Any]]:
    """The phantoms' concepts as rows of MedCAT's CDB: one per name, of which a concept's first is preferred."""
    from radcap.data.phantoms import lexicon

    return [
        {
            "cui": concept.cui,
            "name": name,
            "name_status": "P" if number == 0 else "A",
            "type_ids": "|".join(concept.types),
            "ontologies": "PHANTOMS",
            "description": "",
        }
        for concept in lexicon.load()
        for number, name in enumerate(concept.names)
    ]
