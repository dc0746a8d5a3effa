"""The quirks of ROCOv2's captions and concepts: rare, deterministic, each at a fixed row among the first 50."""

from collections.abc import Callable

import numpy as np

from radcap.data.phantoms import lexicon
from radcap.data.phantoms.atlas import SHARES
from radcap.data.phantoms.captions import caption
from radcap.data.phantoms.case import Case

NARROW_SPACE, NO_BREAK_SPACE = "\u202f", "\u00a0"
# One row in so many repeats a rare quirk; the share of rows with a common one.
PERIOD, COMMON, SCARCE = 400, 0.05, 0.02

# Rare quirks by their first row.
BLANK, SHORT, DUPLICATE, LONG, NO_MODALITY, TWO_MODALITIES = 7, 11, 23, 29, 31, 37
# Common ones are drawn by chance, and sure at these rows.
EDGES, NO_BREAK, SYMBOLS = 3, 5, 17


def caption_source(index: int) -> int:
    """The row whose case and caption this row has: its own, or for a duplicate the row before."""
    return index - 1 if _due(index, DUPLICATE) else index


def add_text_quirks(text: str, case: Case, rng: np.random.Generator, *, index: int, split: str) -> str:
    """The caption as the file holds it. `rng` is the row's own."""
    if _due(index, BLANK):
        return NARROW_SPACE
    if _due(index, SHORT):
        return lexicon.find(case.modality).names[1].capitalize()
    if _due(index, LONG) and split == "train":
        return " ".join(caption(case, rng) for _ in range(25))
    chances = rng.random(3)
    if _due(index, DUPLICATE) or _due(index + 1, DUPLICATE):
        return text
    common: tuple[tuple[int, float, Callable[[str, np.random.Generator], str]], ...] = (
        (SYMBOLS, SCARCE, _symbols),
        (NO_BREAK, COMMON, _no_break),
        (EDGES, COMMON, _edges),
    )
    for (row, share, change), chance in zip(common, chances, strict=True):
        if index == row or chance < share:
            text = change(text, rng)
    return text


def add_concept_quirks(cuis: list[str], case: Case, *, index: int) -> list[str]:
    """The row's concepts, rarely without modality or with a second one."""
    modality = lexicon.find(case.modality).cui
    if _due(index, NO_MODALITY):
        return [cui for cui in cuis if cui != modality]
    if _due(index, TWO_MODALITIES):
        other = next(name for name in SHARES if name != case.modality)
        return [*cuis, lexicon.find(other).cui]
    return cuis


def _due(index: int, first: int) -> bool:
    return index % PERIOD == first


def _symbols(text: str, rng: np.random.Generator) -> str:
    for plain, symbol in ((" mm", "\u2009mm"), ("-", "\u2013"), (" cm", "\u2009cm")):
        if plain in text:
            return text.replace(plain, symbol)
    return text + " Scale bar: 500 \u00b5m, 10\u00d7."


def _no_break(text: str, rng: np.random.Generator) -> str:
    at = [place for place, letter in enumerate(text) if letter == " "]
    place = at[rng.integers(len(at))]
    return text[:place] + NO_BREAK_SPACE + text[place + 1 :]


def _edges(text: str, rng: np.random.Generator) -> str:
    return (f" {text}", f"{text} ", f" {text}  ")[rng.integers(3)]
