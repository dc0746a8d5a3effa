"""Batches for the sample's image-text model: pictures, their captions, captions with one wrong fact, and noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from radcap.data.phantoms.captions import caption, pick
from radcap.data.phantoms.case import Case
from radcap.metrics.medimageinsight.image_tower import decode, normalised
from radcap.metrics.medimageinsight.text_tower import Tokenizer
from radcap.metrics.miniatures.facts import FACTS, numbers, read
from radcap.metrics.miniatures.pairs import WRONG, dressed
from radcap.metrics.miniatures.training import BATCH

# How often a wrong caption has which fact wrong; a finding is the hardest to see.
KINDS = ("wrong finding", "wrong finding", "wrong modality", "wrong side")
NOISE = 16


class Batch(NamedTuple):
    """`pixels`: (n, 3, height, width). `texts`: token ids of m captions. Facts: (n, 4) and (m, 4) class numbers as in
    facts.FACTS; rows whose caption does not tell them have a negative number of their own. `noise`: which texts are."""

    pixels: Tensor
    texts: list[tuple[int, ...]]
    picture_facts: Tensor
    caption_facts: Tensor
    noise: slice


class Drawer:
    """Draws batches of the rows in random order, again and again; their images are decoded once."""

    def __init__(
        self, rows: Sequence[Mapping[str, Any]], tokenizer: Tokenizer, image: dict[str, Any], rng: np.random.Generator
    ) -> None:
        self.tokenizer, self.rng = tokenizer, rng
        self.captions = [row["caption"] for row in rows]
        self.pixels = torch.stack([normalised(decode(row["image"]), image) for row in rows])
        self.cases = [read(text) for text in self.captions]
        self.facts = [numbers(case) if case else _unknown(index) for index, case in enumerate(self.cases)]
        self.order: list[int] = []

    def draw(self) -> Batch:
        """BATCH rows (or all), each known case in a caption with one wrong fact too, and up to NOISE of noise."""
        rows = self._next()
        wrong = [self._wrong(case) for index in rows if (case := self.cases[index]) is not None]
        noise = self._noise(rows)
        texts = [self.captions[index] for index in rows] + [caption(case, self.rng) for case in wrong] + noise
        facts = [self.facts[index] for index in rows]
        return Batch(
            self.pixels[rows],
            [self.tokenizer.encode(text) for text in texts],
            torch.tensor(facts),
            torch.tensor(facts + [numbers(case) for case in wrong] + [_unknown(len(self.captions)) for _ in noise]),
            slice(len(texts) - len(noise), None),
        )

    def _next(self) -> list[int]:
        size = min(BATCH, len(self.captions))
        if len(self.order) < size:
            self.order = self.rng.permutation(len(self.captions)).tolist()
        taken, self.order = self.order[:size], self.order[size:]
        return taken

    def _wrong(self, case: Case) -> Case:
        kind = pick(self.rng, KINDS)
        if kind == "wrong side" and case.side is None:
            kind = "wrong finding"
        # Sizes and techniques as rows' captions have them: their lack must not tell that a caption is wrong.
        return dressed(WRONG[kind](case, self.rng), self.rng)

    def _noise(self, rows: Sequence[int]) -> list[str]:
        """Words of all the captions, shuffled, as many as a caption has."""
        words = [word for index in rows for word in self.captions[index].split()]
        lengths = [len(self.captions[index].split()) for index in rows[:NOISE]]
        return [" ".join(words[at] for at in self.rng.permutation(len(words))[:length]) for length in lengths]


def _unknown(number: int) -> list[int]:
    return [-1 - number] * len(FACTS)
