"""ROUGE-1 (Lin 2004): the F1 of unigram overlap, with rouge-score's tokenizer and without stemming."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rouge_score.scoring import fmeasure
from rouge_score.tokenize import tokenize

from radcap.metrics.preprocessing import preprocess


class Rouge1Scorer:
    """Scores captions by ROUGE-1. It counts the words of each reference once, for all candidates that follow."""

    def __init__(self) -> None:
        self._reference_counts: dict[str, Counter[str]] = {}

    def score(self, candidates: Sequence[str], references: Sequence[str]) -> list[float]:
        """One F1 in [0, 1] per caption, after the official preprocessing; 0 if either side has no words."""
        reference_counts = self._reference_counts
        reference_counts.update({text: word_counts(text) for text in set(references) - reference_counts.keys()})
        candidate_counts = {text: word_counts(text) for text in set(candidates)}
        return [
            f1(candidate_counts[candidate], reference_counts[reference])
            for candidate, reference in zip(candidates, references, strict=True)
        ]


def word_counts(caption: str) -> Counter[str]:
    """How often each word occurs in a caption, after the official preprocessing."""
    return Counter(tokenize(preprocess(caption), None))


def f1(candidate: Counter[str], reference: Counter[str]) -> float:
    """2 P R / (P + R) of the words in common. Equal to rouge-score's result to the last bit."""
    overlap = sum(min(count, reference[word]) for word, count in candidate.items() if word in reference)
    precision = overlap / max(candidate.total(), 1)
    recall = overlap / max(reference.total(), 1)
    return float(fmeasure(precision, recall))
