"""Beam search over a batch of images; greedy decoding is the search with one beam."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch


class Hypothesis(NamedTuple):
    """A caption's tokens without the end token, whether it ended by itself, and the mean natural logarithm of its
    tokens' probabilities (the end token's too), as the model gives them before any repetition control."""

    tokens: list[int]
    ended: bool
    logprob: float


@dataclass(frozen=True, kw_only=True)
class DecodingOptions:
    """`beams` hypotheses an image, ranked by sum(log p) / tokens ** `length_penalty`, of at most `max_new_tokens`.

    Repetition control acts on the caption's own tokens alone, never on the prompt's or padding: log-probabilities of
    tokens that it holds are multiplied by `repetition_penalty` (Keskar et al. 2019, on log-probabilities as beam search
    in transformers), and no n-gram of `no_repeat_ngram` tokens comes twice; 1.0 and 0: none.
    """

    beams: int
    max_new_tokens: int
    length_penalty: float = 1.0
    repetition_penalty: float = 1.0
    no_repeat_ngram: int = 0


class BeamSearch:
    """The state of a search: a step for every new column of log-probabilities, until `rows` is empty.

    An image leaves the batch when its own search is over, so that the others no longer pay for it. The rules of ending
    are those of transformers' beam search with early_stopping=False: an image is done when it has `beams` finished
    hypotheses and its best running one, at its present length, ranks below all of them.
    """

    def __init__(self, images: int, decoding: DecodingOptions, *, end: int, device: torch.device | str = "cpu") -> None:
        self.decoding, self.end = decoding, end
        self.rows = list(range(images))
        # (images, beams, tokens so far) and (images, beams); before the first step there is one beam.
        self.tokens = torch.empty(images, 1, 0, dtype=torch.long, device=device)
        self.scores = torch.zeros(images, 1, device=device)
        self.sums = torch.zeros(images, 1, device=device)
        self.finished: list[list[tuple[float, Hypothesis]]] = [[] for _ in range(images)]
        self.control = _processors(decoding)

    def step(self, logprobs: torch.Tensor) -> torch.Tensor | None:
        """Take log-probabilities (rows * beams, vocabulary) of the next token.

        Returns which of these rows the next step goes on from, in order; None: all, as they are.
        """
        images, width, length = self.tokens.shape
        vocabulary, beams = logprobs.shape[-1], self.decoding.beams
        guided = self.control(self.tokens.view(images * width, length), logprobs) if length else logprobs
        # The best 2 * beams hold `beams` that do not end, whatever ends.
        scores, places = (self.scores.unsqueeze(-1) + guided.view(images, width, -1)).flatten(1).topk(2 * beams)
        parents, tokens = places // vocabulary, places % vocabulary
        sums = self.sums.gather(1, parents) + logprobs.view(images, -1).gather(1, places)
        grown = torch.cat([_of_beams(self.tokens, parents), tokens.unsqueeze(-1)], dim=-1)

        norm = (length + 1) ** self.decoding.length_penalty
        is_last = length + 1 == self.decoding.max_new_tokens
        final = (tokens == self.end) | is_last
        for image, rank in final[:, :beams].nonzero().tolist():
            score, total = float(scores[image, rank]) / norm, float(sums[image, rank])
            self._finish(image, grown[image, rank].tolist(), score, total)
        running, order = scores.masked_fill(final, -torch.inf).topk(beams)
        best = (running[:, 0] / norm).tolist()
        keep = [image for image in range(images) if not self._is_over(image, best[image])]

        order = order[keep]
        self.rows = [self.rows[image] for image in keep]
        self.tokens, self.scores = _of_beams(grown[keep], order), running[keep]
        self.sums = sums[keep].gather(1, order)
        if beams == width == 1 and len(keep) == images:
            return None
        start = torch.tensor(keep, device=order.device).unsqueeze(1) * width
        return (start + parents[keep].gather(1, order)).flatten()

    def best(self) -> list[Hypothesis]:
        """Each image's caption, once the search is over."""
        return [max(found, key=lambda one: one[0])[1] for found in self.finished]

    def _finish(self, image: int, tokens: list[int], score: float, total: float) -> None:
        ended = tokens[-1] == self.end
        decoded = Hypothesis(tokens[:-1] if ended else tokens, ended, total / len(tokens))
        self.finished[self.rows[image]].append((score, decoded))

    def _is_over(self, image: int, best: float) -> bool:
        # No beam runs where all reached the longest length.
        if best == -torch.inf:
            return True
        ranked = sorted((score for score, _ in self.finished[self.rows[image]]), reverse=True)
        return len(ranked) >= self.decoding.beams and best <= ranked[self.decoding.beams - 1]


def _of_beams(tokens: torch.Tensor, beams: torch.Tensor) -> torch.Tensor:
    """Sequences (images, beams, length) of the chosen beams (images, chosen)."""
    if not tokens.shape[-1]:
        return tokens.expand(-1, beams.shape[1], 0)
    return tokens.take_along_dim(beams.unsqueeze(-1), dim=1)


def _processors(decoding: DecodingOptions) -> Any:
    from transformers import LogitsProcessorList, NoRepeatNGramLogitsProcessor, RepetitionPenaltyLogitsProcessor

    found = LogitsProcessorList()
    if decoding.repetition_penalty != 1.0:
        found.append(RepetitionPenaltyLogitsProcessor(decoding.repetition_penalty))
    if decoding.no_repeat_ngram:
        found.append(NoRepeatNGramLogitsProcessor(decoding.no_repeat_ngram))
    return found
