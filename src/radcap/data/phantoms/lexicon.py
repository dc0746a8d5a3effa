"""The concepts that phantoms show: UMLS identifiers, semantic types and names, from `lexicon.csv`."""

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

TABLE = Path(__file__).with_name("lexicon.csv")


@dataclass(frozen=True)
class Concept:
    """One UMLS concept; `types` are semantic type ids (TUI), `names` all its names in lower case."""

    cui: str
    name: str
    types: tuple[str, ...]
    names: tuple[str, ...]


@cache
def load() -> tuple[Concept, ...]:
    """All concepts, in file order. ValueError where one name belongs to two concepts."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        concepts = tuple(_concept(row) for row in csv.DictReader(file))
    owner: dict[str, str] = {}
    for concept in concepts:
        for name in concept.names:
            if owner.setdefault(name, concept.cui) != concept.cui:
                raise ValueError(f"{TABLE.name}: '{name}' belongs to both {owner[name]} and {concept.cui}")
    return concepts


@cache
def by_name() -> dict[str, Concept]:
    """Each name, in lower case, and its concept."""
    return {name: concept for concept in load() for name in concept.names}


def find(name: str) -> Concept:
    """The concept with this name; KeyError where there is none."""
    return by_name()[name.lower()]


def _concept(row: dict[str, str]) -> Concept:
    names = (row["name"].lower(), *filter(None, row["synonyms"].split("|")))
    return Concept(row["cui"], row["name"], tuple(row["type_ids"].split("|")), tuple(dict.fromkeys(names)))
