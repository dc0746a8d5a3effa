"""The sample's MedCAT: a pack of the phantoms' lexicon."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any


def build_medcat_pack(folder: Path) -> Path:
    """A MedCAT pack of the phantoms' lexicon, with the regex tokenizer (no spaCy model); returns the .zip."""
    os.environ.setdefault("MEDCAT_DISABLE_VERSION_CHECK", "True")
    logging.getLogger("medcat").setLevel(logging.ERROR)
    import numpy as np
    import pandas as pd
    from medcat.cat import CAT
    from medcat.config import Config
    from medcat.model_creation.cdb_maker import CDBMaker
    from medcat.vocab import Vocab

    rows = lexicon_rows()
    config = Config()
    config.general.nlp.provider = "regex"
    config.cdb_maker.min_letters_required = 1
    # "CT" has two letters; untrained concepts have similarity -1.
    config.components.ner.min_name_len = 2
    config.components.linking.similarity_threshold = -2
    vocabulary = Vocab()
    for word in sorted({word for row in rows for word in row["name"].split()}):
        vocabulary.add_word(word, vec=np.ones(7))
    cdb = CDBMaker(config).prepare_csvs([pd.DataFrame(rows)])
    folder.mkdir(parents=True, exist_ok=True)
    saved = Path(CAT(cdb=cdb, vocab=vocabulary, config=config).save_model_pack(str(folder), only_archive=True))
    return saved.replace(folder / "medcat.zip")


def lexicon_rows() -> list[dict[str, Any]]:
    """The phantoms' concepts as MedCAT's CDB table: one row per name, the first of a concept preferred."""
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
