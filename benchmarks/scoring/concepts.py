"""A MedCAT pack of 100,000 concepts, whose names occur in real captions as often as those of a real pack."""

from __future__ import annotations

import logging
import os
import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from radcap import files

CONCEPTS, SEED = 100_000, 7
# {words: number of names} that are taken from captions, most frequent first. One name in AMBIGUOUS has two concepts.
REAL = {1: 1200, 2: 4000, 3: 4000}
AMBIGUOUS = 20
STOP_WORDS = "a an and are as at be by for from in into is it of on or the there this to was were which with"
STOP = frozenset(STOP_WORDS.split(" "))
WORD = re.compile(r"[a-z][a-z-]+")
SEMANTIC_TYPES = Path("reference/semantic_types.json")
PACK = "medcat.zip"


def build_pack(folder: Path, captions: Sequence[str]) -> Path:
    """Write medcat.zip with the regex tokenizer into `folder`."""
    os.environ.setdefault("MEDCAT_DISABLE_VERSION_CHECK", "True")
    # Setting a level is not enough: some of its loggers set their own.
    logging.disable(logging.WARNING)
    import numpy as np
    import pandas as pd
    from medcat.cat import CAT
    from medcat.config import Config
    from medcat.model_creation.cdb_maker import CDBMaker
    from medcat.vocab import Vocab

    config = Config()
    config.general.nlp.provider = "regex"
    config.components.ner.min_name_len = 2
    # Untrained concepts have similarity -1.
    config.components.linking.similarity_threshold = -2
    vocabulary, rng = Vocab(), np.random.default_rng(SEED)
    for word, count in sorted(Counter(word for caption in captions for word in _words(caption)).items()):
        vocabulary.add_word(word, cnt=count, vec=rng.standard_normal(300))
    cdb = CDBMaker(config).prepare_csvs([pd.DataFrame(list(_rows(captions)))])
    saved = Path(CAT(cdb=cdb, vocab=vocabulary, config=config).save_model_pack(str(folder), only_archive=True))
    return saved.replace(folder / PACK)


def _rows(captions: Sequence[str]) -> Iterator[dict[str, Any]]:
    rng = random.Random(SEED)
    types = sorted(files.read_json(SEMANTIC_TYPES)["official_tuis"])
    for number, name in enumerate(_names(captions, rng)):
        yield {
            "cui": f"C{number:07}",
            "name": name,
            "name_status": "P",
            "type_ids": rng.choice(types),
            "ontologies": "MADE-UP",
            "description": "",
        }


def _names(captions: Sequence[str], rng: random.Random) -> Iterator[str]:
    """CONCEPTS names: those of REAL, some of them twice, and others made of two to four words of the captions."""
    real = [name for size, count in REAL.items() for name in _frequent(captions, size, count)]
    real += rng.sample(real, len(real) // AMBIGUOUS)
    yield from real
    words = _frequent(captions, 1, 10_000)
    invented: set[str] = set()
    while len(invented) < CONCEPTS - len(real):
        name = " ".join(rng.choices(words, k=rng.randint(2, 4)))
        if name not in invented:
            invented.add(name)
            yield name


def _frequent(captions: Sequence[str], size: int, count: int) -> list[str]:
    counts: Counter[str] = Counter()
    for caption in captions:
        words = _words(caption)
        grams = (words[start : start + size] for start in range(len(words) - size + 1))
        counts.update(" ".join(gram) for gram in grams if gram[0] not in STOP and gram[-1] not in STOP)
    return [name for name, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:count]]


def _words(caption: str) -> list[str]:
    return WORD.findall(caption.lower())
