"""ROUGE-1 (Lin 2004): F1 of unigram overlap, rouge-score's tokenizer, no stemming."""

from collections.abc import Sequence

from rouge_score.rouge_scorer import RougeScorer

from radcap.metrics.text import preprocess


def score(candidates: Sequence[str], references: Sequence[str]) -> list[float]:
    """One F1 in [0, 1] per caption, after the official preprocessing; 0 where a side has no token."""
    scorer = RougeScorer(["rouge1"], use_stemmer=False)
    pairs = zip(references, candidates, strict=True)
    return [float(scorer.score(preprocess(ref), preprocess(cand))["rouge1"].fmeasure) for ref, cand in pairs]
