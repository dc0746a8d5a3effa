"""ROUGE-1 (Lin 2004): F1 of unigram overlap, by rouge-score's tokenizer, without stemming."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rouge_score.scoring import fmeasure
from rouge_score.tokenize import tokenize

from radcap.metrics.text import preprocess


class Rouge1:
    """Counts the words of a reference once, for any number of candidate sets."""

    def __init__(self) -> None:
        self._references: dict[str, Counter[str]] = {}

    def score(self, candidates: Sequence[str], references: Sequence[str]) -> list[float]:
        """One F1 in [0, 1] per caption, after the official preprocessing; 0 where a side has no word."""
        known = self._references
        known.update({text: words(text) for text in set(references) - known.keys()})
        found = {text: words(text) for text in set(candidates)}
        return [f1(found[cand], known[ref]) for cand, ref in zip(candidates, references, strict=True)]


def words(caption: str) -> Counter[str]:
    """How often each word stands in a caption, after the official preprocessing."""
    return Counter(tokenize(preprocess(caption), None))


def f1(candidate: Counter[str], reference: Counter[str]) -> float:
    """2 P R / (P + R), of the words that both have; equal to rouge-score's to the last bit."""
    overlap = sum(min(count, reference[word]) for word, count in candidate.items() if word in reference)
    precision = overlap / max(candidate.total(), 1)
    recall = overlap / max(reference.total(), 1)
    return float(fmeasure(precision, recall))
