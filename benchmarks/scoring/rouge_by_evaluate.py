"""ROUGE as a metric of Hugging Face's `evaluate`, which otherwise downloads its own from the hub. All four types."""

from __future__ import annotations

from collections.abc import Sequence

import evaluate
from datasets import Features, Value
from rouge_score.rouge_scorer import RougeScorer

ROUGE_TYPES = ["rouge1", "rouge2", "rougeL", "rougeLsum"]


class Rouge(evaluate.Metric):
    """`compute(predictions=, references=)` returns {type: mean F1}."""

    def _info(self) -> evaluate.MetricInfo:
        features = Features({"predictions": Value("string"), "references": Value("string")})
        return evaluate.MetricInfo(description="ROUGE", citation="Lin 2004", features=features)

    def _compute(self, predictions: Sequence[str], references: Sequence[str]) -> dict[str, float]:
        scorer = RougeScorer(ROUGE_TYPES, use_stemmer=False)
        scores = [scorer.score(ref, cand) for cand, ref in zip(predictions, references, strict=True)]
        return {name: sum(score[name].fmeasure for score in scores) / len(scores) for name in ROUGE_TYPES}
