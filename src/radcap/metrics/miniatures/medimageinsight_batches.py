"""Training batches of the miniature MedImageInsight: images, their captions, captions with a wrong fact, and noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from radcap.data.phantoms.captions import caption, pick
from radcap.data.phantoms.case import Case
from radcap.metrics.medimageinsight.image_tower import decode_image, normalize_pixels
from radcap.metrics.medimageinsight.text_tower import Tokenizer
from radcap.metrics.miniatures.facts import FACTS, fact_labels, read_case
from radcap.metrics.miniatures.pairs import CORRUPTIONS, with_technique_and_size
from radcap.metrics.miniatures.training import BATCH_SIZE

# One is drawn for each wrong caption. The finding is there twice because it is the hardest to see.
KINDS = ("wrong finding", "wrong finding", "wrong modality", "wrong side")
MAX_NOISE_CAPTIONS = 16


class Batch(NamedTuple):
    """n images and m captions.

    `pixels`: (n, 3, height, width). `texts`: token ids of the captions. `image_facts`, `caption_facts`: (n, 4) and
    (m, 4) class numbers as in facts.FACTS; a row whose caption does not state its facts has its own negative number.
    `noise`: which captions are noise.
    """

    pixels: Tensor
    texts: list[tuple[int, ...]]
    image_facts: Tensor
    caption_facts: Tensor
    noise: slice


class BatchSampler:
    """Samples batches of the rows in random order, without end. It decodes their images once."""

    def __init__(
        self,
        rows: Sequence[Mapping[str, Any]],
        tokenizer: Tokenizer,
        image_settings: dict[str, Any],
        rng: np.random.Generator,
    ) -> None:
        self.tokenizer, self.rng = tokenizer, rng
        self.captions = [row["caption"] for row in rows]
        self.pixels = torch.stack([normalize_pixels(decode_image(row["image"]), image_settings) for row in rows])
        self.cases = [read_case(text) for text in self.captions]
        self.facts = [fact_labels(case) if case else _unknown_facts(index) for index, case in enumerate(self.cases)]
        self.order: list[int] = []

    def sample(self) -> Batch:
        """BATCH_SIZE rows (or all), a caption with one wrong fact for each known case, and up to 16 noise captions."""
        rows = self._next_rows()
        wrong = [self._corrupt(case) for index in rows if (case := self.cases[index]) is not None]
        noise = self._noise_captions(rows)
        texts = [self.captions[index] for index in rows] + [caption(case, self.rng) for case in wrong] + noise
        facts = [self.facts[index] for index in rows]
        return Batch(
            self.pixels[rows],
            [self.tokenizer.encode(text) for text in texts],
            torch.tensor(facts),
            torch.tensor(
                facts + [fact_labels(case) for case in wrong] + [_unknown_facts(len(self.captions)) for _ in noise]
            ),
            slice(len(texts) - len(noise), None),
        )

    def _next_rows(self) -> list[int]:
        size = min(BATCH_SIZE, len(self.captions))
        if len(self.order) < size:
            self.order = self.rng.permutation(len(self.captions)).tolist()
        taken, self.order = self.order[:size], self.order[size:]
        return taken

    def _corrupt(self, case: Case) -> Case:
        kind = pick(self.rng, KINDS)
        if kind == "wrong side" and case.side is None:
            kind = "wrong finding"
        # With a technique and a size, as rows have them: without, a wrong caption could be recognized.
        return with_technique_and_size(CORRUPTIONS[kind](case, self.rng), self.rng)

    def _noise_captions(self, rows: Sequence[int]) -> list[str]:
        """Shuffled words of all captions, each time as many as a caption has."""
        words = [word for index in rows for word in self.captions[index].split()]
        lengths = [len(self.captions[index].split()) for index in rows[:MAX_NOISE_CAPTIONS]]
        return [" ".join(words[index] for index in self.rng.permutation(len(words))[:length]) for length in lengths]


def _unknown_facts(number: int) -> list[int]:
    return [-1 - number] * len(FACTS)
