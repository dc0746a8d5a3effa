"""All calls to radcap's scorers, in one place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from scoring.checkpoints import DEBERTA_LAYER
from scoring.concepts import PACK

# (candidates, references, images) -> one float per caption.
Score = Callable[[Sequence[str], Sequence[str], Sequence[bytes]], list[float]]


def open_scorer(metric: str, checkpoint: Path, *, dtype: str = "float32", processes: int = 1) -> Score:
    """Load the scorer of a metric. `processes` matters for UMLS F1 only, `dtype` for networks."""
    return LOADERS[metric](checkpoint, dtype, processes)


def _rouge1(_: Path, __: str, ___: int) -> Score:
    from radcap.metrics.rouge1 import Rouge1Scorer

    scorer = Rouge1Scorer()
    return lambda candidates, references, _: scorer.score(candidates, references)


def _bertscore(checkpoint: Path, dtype: str, _: int) -> Score:
    from radcap.metrics.bertscore import BertScorer

    scorer = BertScorer(checkpoint, layer=DEBERTA_LAYER, dtype=dtype)
    return lambda candidates, references, _: scorer.score(candidates, references)["f1"]


def _bleurt(checkpoint: Path, dtype: str, _: int) -> Score:
    from radcap.metrics.bleurt import BleurtScorer

    scorer = BleurtScorer(checkpoint, dtype=dtype)
    return lambda candidates, references, _: scorer.score(candidates, references)


def _alignscore(checkpoint: Path, dtype: str, _: int) -> Score:
    from radcap.metrics.alignscore import AlignScorer

    scorer = AlignScorer(_inner(checkpoint, "converted"), dtype=dtype)
    return lambda candidates, references, _: scorer.score(candidates, references)


def _similarity(checkpoint: Path, dtype: str, _: int) -> Score:
    from radcap.metrics.similarity import SimilarityScorer

    scorer = SimilarityScorer(checkpoint, dtype=dtype)

    def score(candidates: Sequence[str], _: Sequence[str], images: Sequence[bytes]) -> list[float]:
        return [cosine or 0.0 for cosine in scorer.score(candidates, images)]

    return score


def _umls_f1(checkpoint: Path, _: str, processes: int) -> Score:
    from radcap.metrics.umls_f1 import ConceptTagger

    tagger = ConceptTagger(_inner(checkpoint, PACK), processes=processes)
    return lambda candidates, references, _: tagger.score(candidates, references, semantic_types="official127")


def _inner(checkpoint: Path, name: str) -> Path:
    """`name` within a checkpoint of the benchmark. A miniature's path is already the right one."""
    return checkpoint / name if (checkpoint / name).exists() else checkpoint


LOADERS: dict[str, Callable[[Path, str, int], Score]] = {
    "rouge1": _rouge1,
    "bertscore": _bertscore,
    "bleurt": _bleurt,
    "alignscore": _alignscore,
    "similarity": _similarity,
    "umls_f1": _umls_f1,
}
