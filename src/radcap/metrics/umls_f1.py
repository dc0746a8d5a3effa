"""UMLS concept F1: overlap of the concepts that MedCAT (Kraljevic et al. 2021) finds in both captions."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from radcap import files

# MedCAT asks a server for its newest version otherwise.
os.environ.setdefault("MEDCAT_DISABLE_VERSION_CHECK", "True")

SEMANTIC_TYPES = Path("reference/semantic_types.json")
LISTS = {"medcon66": "medcon_tuis", "official127": "official_tuis"}


def f1(candidate: Collection[str], reference: Collection[str]) -> float:
    """F1 of two sets of CUIs: 2 |A and B| / (|A| + |B|); 0 where either is empty."""
    a, b = set(candidate), set(reference)
    return 2 * len(a & b) / (len(a) + len(b)) if a and b else 0.0


class ConceptTagger:
    """Finds UMLS concepts with a MedCAT model pack (a .zip or its folder)."""

    def __init__(self, pack: Path) -> None:
        logging.getLogger("medcat").setLevel(logging.ERROR)
        from medcat.cat import CAT

        self.cat: Any = CAT.load_model_pack(str(pack))
        # MedCAT's own hash of concepts and configuration: the pack's identity, whenever it was saved.
        self.hash = str(self.cat.config.meta.hash)
        self.tokenizer = str(self.cat.config.general.nlp.provider)

    def concepts(self, texts: Sequence[str], *, semantic_types: str) -> list[tuple[str, ...]]:
        """Sorted CUIs of each text, of the semantic types in a list of reference/semantic_types.json."""
        allowed = frozenset(files.read_json(SEMANTIC_TYPES)[LISTS[semantic_types]])
        unique = {text: self._find(text, allowed) for text in dict.fromkeys(texts)}
        return [unique[text] for text in texts]

    def _find(self, text: str, allowed: frozenset[str]) -> tuple[str, ...]:
        # Of an empty text MedCAT answers {} without the key.
        found = self.cat.get_entities(text).get("entities", {}).values()
        return tuple(sorted({entity["cui"] for entity in found if allowed & set(entity["type_ids"])}))

    def score(self, candidates: Sequence[str], references: Sequence[str], *, semantic_types: str) -> list[float]:
        """One F1 in [0, 1] per caption, on the raw captions."""
        found = [self.concepts(texts, semantic_types=semantic_types) for texts in (candidates, references)]
        return [f1(a, b) for a, b in zip(*found, strict=True)]
