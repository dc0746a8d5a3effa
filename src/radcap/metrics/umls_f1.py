"""UMLS concept F1: overlap of the concepts that MedCAT (Kraljevic et al. 2021) finds in both captions."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Collection, Sequence
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from radcap import files
from radcap.metrics.kept import Kept
from radcap.metrics.text import encodable

# MedCAT asks a server for its newest version otherwise.
os.environ.setdefault("MEDCAT_DISABLE_VERSION_CHECK", "True")

SEMANTIC_TYPES = Path("reference/semantic_types.json")
LISTS = {"medcon66": "medcon_tuis", "official127": "official_tuis"}
# Fewer texts are looked at sooner than processes are made.
TEXTS_PER_PROCESS = 100
CHUNK = 25
# MedCAT's spelling checker takes memory by the square of a word's length: 20 GB for one of 20,000 letters.
ENDLESS = re.compile(r"\w{501,}")
CONCEPTS = "concepts.json"
# {CUI: its semantic types (TUIs)}
Concepts = dict[str, list[str]]


def f1(candidate: Collection[str], reference: Collection[str]) -> float:
    """F1 of two sets of CUIs: 2 |A and B| / (|A| + |B|); 0 where either is empty."""
    a, b = set(candidate), set(reference)
    return 2 * len(a & b) / (len(a) + len(b)) if a and b else 0.0


class ConceptTagger:
    """Finds UMLS concepts with a MedCAT model pack (a .zip or its folder), in up to `processes` processes.

    The processes are forks, which share the pack's memory; elsewhere than on Linux there is but one.
    `cache`: a folder of this pack alone that keeps the references' concepts for other processes.
    """

    def __init__(self, pack: Path, *, processes: int = 1, cache: Path | None = None) -> None:
        self.processes = processes if sys.platform == "linux" else 1
        self.cat = open_pack(pack)
        # MedCAT's own hash of concepts and configuration: the pack's identity, whenever it was saved.
        self.hash = str(self.cat.config.meta.hash)
        self.tokenizer = str(self.cat.config.general.nlp.provider)
        self._known: dict[str, Concepts] = {}
        self._kept = Kept(cache)

    def score(self, candidates: Sequence[str], references: Sequence[str], *, semantic_types: str) -> list[float]:
        """One F1 in [0, 1] per caption, on the raw captions, of the semantic types in a list of LISTS."""
        self.keep(references, candidates)
        both = [self.concepts(texts, semantic_types=semantic_types) for texts in (candidates, references)]
        return [f1(cand, ref) for cand, ref in zip(*both, strict=True)]

    def concepts(self, texts: Sequence[str], *, semantic_types: str) -> list[tuple[str, ...]]:
        """Sorted CUIs of each text, of the semantic types in a list of reference/semantic_types.json."""
        allowed = frozenset(files.read_json(SEMANTIC_TYPES)[LISTS[semantic_types]])
        texts = [encodable(text) for text in texts]
        self._find(texts)
        return [tuple(cui for cui, types in self._known[text].items() if allowed.intersection(types)) for text in texts]

    def keep(self, references: Sequence[str], candidates: Sequence[str] = ()) -> None:
        """Find the references' concepts, or read what another process found; the candidates' along with them."""
        texts, beside = ([encodable(text) for text in side] for side in (references, candidates))

        def write(unique: list[str], folder: Path) -> None:
            self._find([*unique, *beside])
            files.write_json(folder / CONCEPTS, {text: self._known[text] for text in unique})

        if not self._known.keys() >= set(texts):
            self._known.update(files.read_json(self._kept.get(texts, write) / CONCEPTS))
        self._find(beside)

    def _find(self, texts: Sequence[str]) -> None:
        """Look at each text once in this object's life."""
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        processes = min(self.processes, len(new) // TEXTS_PER_PROCESS)
        if processes > 1:
            _OPENED["cat"] = self.cat
            with get_context("fork").Pool(processes, _start) as pool:
                self._known.update(zip(new, pool.imap(_tag, new, chunksize=CHUNK), strict=True))
        else:
            self._known.update({text: tag(self.cat, text) for text in new})


def open_pack(pack: Path) -> Any:
    """MedCAT's CAT of a pack."""
    logging.getLogger("medcat").setLevel(logging.ERROR)
    from medcat.cat import CAT

    return CAT.load_model_pack(str(pack))


def tag(cat: Any, text: str) -> Concepts:
    """The concepts that MedCAT finds in a text, sorted. Words of more than 500 letters are passed over."""
    # Of an empty text MedCAT answers {} without the key.
    found = set(cat.get_entities(ENDLESS.sub(" ", text), only_cui=True).get("entities", {}).values())
    return {cui: sorted(cat.cdb.cui2info[cui]["type_ids"]) for cui in sorted(found)}


_OPENED: dict[str, Any] = {}


def _start() -> None:
    """A fork has none of torch's threads, and would wait for them."""
    import torch

    torch.set_num_threads(1)


def _tag(text: str) -> Concepts:
    return tag(_OPENED["cat"], text)
