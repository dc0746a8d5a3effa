"""ROUGE as a metric of Hugging Face's `evaluate`, which fetches its own from the hub: all four types, each caption."""

from __future__ import annotations

from collections.abc import Sequence

import evaluate
from datasets import Features, Value
from rouge_score.rouge_scorer import RougeScorer

ROUGE_TYPES = ["rouge1", "rouge2", "rougeL", "rougeLsum"]


class Rouge(evaluate.Metric):
    """`compute(predictions=, references=)` gives {type: mean F1}."""

    def _info(self) -> evaluate.MetricInfo:
        features = Features({"predictions": Value("string"), "references": Value("string")})
        return evaluate.MetricInfo(description="ROUGE", citation="Lin 2004", features=features)

    def _compute(self, predictions: Sequence[str], references: Sequence[str]) -> dict[str, float]:
        scorer = RougeScorer(ROUGE_TYPES, use_stemmer=False)
        found = [scorer.score(ref, cand) for cand, ref in zip(predictions, references, strict=True)]
        return {name: sum(one[name].fmeasure for one in found) / len(found) for name in ROUGE_TYPES}
