"""Scoring as the official evaluators do, written from their description: one caption at a time, without caching."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from radcap import files
from radcap.metrics.preprocessing import preprocess
from radcap.metrics.umls_f1 import f1
from scoring.checkpoints import DEBERTA_LAYER
from scoring.concepts import PACK, SEMANTIC_TYPES

ROUGE_TYPES = ["rouge1", "rouge2", "rougeL", "rougeLsum"]
# (candidate, reference, image) -> score
ScoreOne = Callable[[str, str, bytes], float]


def rouge1(_: Path, __: Sequence[str]) -> ScoreOne:
    """Computes all four types to use one; through `evaluate` if it is installed, as the official code does."""
    if importlib.util.find_spec("evaluate"):
        from scoring.rouge_by_evaluate import Rouge

        metric = Rouge()
        return lambda candidate, reference, _: metric.compute(
            predictions=[preprocess(candidate)], references=[preprocess(reference)]
        )["rouge1"]
    from rouge_score.rouge_scorer import RougeScorer

    def score(candidate: str, reference: str, _: bytes) -> float:
        scorer = RougeScorer(ROUGE_TYPES, use_stemmer=False)
        return float(scorer.score(preprocess(reference), preprocess(candidate))["rouge1"].fmeasure)

    return score


def bertscore(checkpoint: Path, references: Sequence[str]) -> ScoreOne:
    """F1 by the bert-score package. The idf over all references is computed beforehand."""
    from bert_score import BERTScorer

    scorer = BERTScorer(
        model_type=str(checkpoint),
        num_layers=DEBERTA_LAYER,
        idf=True,
        idf_sents=[preprocess(reference) for reference in references],
        nthreads=0,
        device="cpu",
    )

    def score(candidate: str, reference: str, _: bytes) -> float:
        cand, ref = preprocess(candidate).strip(), preprocess(reference).strip()
        # The package crashes on empty texts.
        return float(scorer.score([cand], [ref])[2][0]) if cand and ref else 0.0

    return score


def bleurt(checkpoint: Path, _: Sequence[str]) -> ScoreOne:
    """Each pair alone, through the plain network with eager attention."""
    from scoring.official_networks import Bleurt

    network = Bleurt(checkpoint)
    return lambda candidate, reference, _: network.score(preprocess(candidate), preprocess(reference))


def alignscore(checkpoint: Path, _: Sequence[str]) -> ScoreOne:
    """The pairs of chunk and sentence of a caption as one batch, padded to 512 tokens, through all heads."""
    from radcap.metrics.alignscore import make_chunks, split_sentences
    from scoring.official_networks import Align

    network = Align(checkpoint)

    def score(candidate: str, reference: str, _: bytes) -> float:
        # The reference crashes on an empty claim.
        if not (claims := split_sentences(candidate)):
            return 0.0
        aligned = network.aligned(make_chunks(reference, split_sentences(reference)), claims)
        return float(aligned.amax(0).mean())

    return score


def similarity(checkpoint: Path, _: Sequence[str]) -> ScoreOne:
    """The text tower only, padded to 77 tokens. Image embeddings, which take 6.6 s each, are computed beforehand."""
    from scoring.official_networks import MedImageInsightText

    network = MedImageInsightText(checkpoint)
    return lambda candidate, _, image: network.score(candidate, image)


def umls_f1(checkpoint: Path, _: Sequence[str]) -> ScoreOne:
    """MedCAT's full entities of both captions."""
    from medcat.cat import CAT

    cat = CAT.load_model_pack(str(checkpoint / PACK))
    allowed = frozenset(files.read_json(SEMANTIC_TYPES)["official_tuis"])

    def concepts(text: str) -> set[str]:
        entities: dict[str, Any] = cat.get_entities(text).get("entities", {})
        return {entity["cui"] for entity in entities.values() if allowed & set(entity["type_ids"])}

    return lambda candidate, reference, _: f1(concepts(candidate), concepts(reference))


LOADERS: dict[str, Callable[[Path, Sequence[str]], ScoreOne]] = {
    "rouge1": rouge1,
    "bertscore": bertscore,
    "bleurt": bleurt,
    "alignscore": alignscore,
    "similarity": similarity,
    "umls_f1": umls_f1,
}
