"""UMLS concept F1: the overlap of the concepts that MedCAT (Kraljevic et al. 2021) finds in both captions."""

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
from radcap.metrics.preprocessing import replace_surrogates
from radcap.metrics.reference_cache import ReferenceCache

# Without this, MedCAT asks a server for its newest version.
os.environ.setdefault("MEDCAT_DISABLE_VERSION_CHECK", "True")

SEMANTIC_TYPES = Path("reference/semantic_types.json")
# {our name of a list of semantic types: its key in SEMANTIC_TYPES}
TYPE_LISTS = {"medcon66": "medcon_tuis", "official127": "official_tuis"}
# Fewer texts per process than this take less time than starting the process.
TEXTS_PER_PROCESS = 100
CHUNK_SIZE = 25
# MedCAT's spelling checker needs memory quadratic in the length of a word: 20 GB for 20,000 letters.
LONG_WORD = re.compile(r"\w{501,}")
CACHE_FILE = "concepts.json"
# {CUI: its semantic types (TUIs)}
Concepts = dict[str, list[str]]


def f1(candidate: Collection[str], reference: Collection[str]) -> float:
    """F1 of two sets of CUIs, 2 |A and B| / (|A| + |B|); 0 if either is empty."""
    a, b = set(candidate), set(reference)
    return 2 * len(a & b) / (len(a) + len(b)) if a and b else 0.0


class ConceptTagger:
    """Finds UMLS concepts with a MedCAT model pack (a .zip or its folder), in up to `processes` processes.

    The processes are forks that share the pack's memory, so there is only one on systems other than Linux. `cache`: a
    folder for this pack alone, in which the concepts of references are shared with other processes.
    """

    def __init__(self, pack: Path, *, processes: int = 1, cache: Path | None = None) -> None:
        self.processes = processes if sys.platform == "linux" else 1
        self.cat = load_pack(pack)
        # MedCAT's own hash of concepts and configuration identifies the pack; it does not depend on when it was saved.
        self.hash = str(self.cat.config.meta.hash)
        self.tokenizer = str(self.cat.config.general.nlp.provider)
        self._concepts: dict[str, Concepts] = {}
        self._cache = ReferenceCache(cache)

    def score(self, candidates: Sequence[str], references: Sequence[str], *, semantic_types: str) -> list[float]:
        """One F1 in [0, 1] per caption, on the raw captions. `semantic_types`: a key of TYPE_LISTS."""
        self.find_concepts(references, candidates)
        cuis = [self.concepts(texts, semantic_types=semantic_types) for texts in (candidates, references)]
        return [f1(cand, ref) for cand, ref in zip(*cuis, strict=True)]

    def concepts(self, texts: Sequence[str], *, semantic_types: str) -> list[tuple[str, ...]]:
        """The sorted CUIs of each text that have one of the semantic types. `semantic_types`: a key of TYPE_LISTS."""
        allowed = frozenset(files.read_json(SEMANTIC_TYPES)[TYPE_LISTS[semantic_types]])
        texts = [replace_surrogates(text) for text in texts]
        self._tag_new(texts)
        return [
            tuple(cui for cui, types in self._concepts[text].items() if allowed.intersection(types)) for text in texts
        ]

    def find_concepts(self, references: Sequence[str], candidates: Sequence[str] = ()) -> None:
        """Find the concepts of all texts at once. Those of the references come from the cache if they are there."""
        references, candidates = ([replace_surrogates(text) for text in texts] for texts in (references, candidates))

        def compute(unique: list[str], folder: Path) -> None:
            self._tag_new([*unique, *candidates])
            files.write_json(folder / CACHE_FILE, {text: self._concepts[text] for text in unique})

        if not self._concepts.keys() >= set(references):
            self._concepts.update(files.read_json(self._cache.get(references, compute) / CACHE_FILE))
        self._tag_new(candidates)

    def _tag_new(self, texts: Sequence[str]) -> None:
        """Tag the texts that this object has not seen before."""
        new = [text for text in dict.fromkeys(texts) if text not in self._concepts]
        processes = min(self.processes, len(new) // TEXTS_PER_PROCESS)
        if processes > 1:
            _FORKED["cat"] = self.cat
            with get_context("fork").Pool(processes, _start_process) as pool:
                self._concepts.update(zip(new, pool.imap(_tag_in_process, new, chunksize=CHUNK_SIZE), strict=True))
        else:
            self._concepts.update({text: tag_text(self.cat, text) for text in new})


def load_pack(pack: Path) -> Any:
    """Load a model pack as MedCAT's CAT."""
    logging.getLogger("medcat").setLevel(logging.ERROR)
    from medcat.cat import CAT

    return CAT.load_model_pack(str(pack))


def tag_text(cat: Any, text: str) -> Concepts:
    """The concepts that MedCAT finds in a text, sorted by CUI. Words of more than 500 letters are ignored."""
    # For an empty text MedCAT returns {} without the key.
    cuis = set(cat.get_entities(LONG_WORD.sub(" ", text), only_cui=True).get("entities", {}).values())
    return {cui: sorted(cat.cdb.cui2info[cui]["type_ids"]) for cui in sorted(cuis)}


# What a forked process inherits.
_FORKED: dict[str, Any] = {}


def _start_process() -> None:
    """Use one thread: a fork has none of torch's other threads, and would wait for them forever."""
    import torch

    torch.set_num_threads(1)


def _tag_in_process(text: str) -> Concepts:
    return tag_text(_FORKED["cat"], text)
