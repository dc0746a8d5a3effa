"""Evaluation protocols as data: the study's description, and ImageCLEF's evaluation code of 2025 and 2026."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

RELEVANCE = ("similarity", "bertscore", "rouge1", "bleurt")
FACTUALITY = ("umls_f1", "alignscore")
METRICS = (*RELEVANCE, *FACTUALITY)
# Decimal places of every published mean, which `dvc metrics diff` compares.
PLACES = 4
# The official code gives two empty captions a fixed score in every metric except BLEURT.
WITHOUT_EMPTY_RULE = frozenset({"bleurt"})
# The factor is CLIPScore's (Hessel et al. 2021). The official evaluators use it without clipping at 1.
SCALINGS: dict[str, Callable[[float], float]] = {
    "cosine": lambda cosine: cosine,
    "official": lambda cosine: 2.5 * max(cosine, 0.0),
}
# {score: one value per caption}; None if there is no image, which counts as 0.
RawValues = Mapping[str, Sequence[float | None]]
Scores = dict[str, list[float]]


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How one evaluator turns raw values into scores.

    `bertscore`: which of precision, recall and f1 counts. `similarity`: its scaling, the plain cosine or the official
    2.5 * max(cosine, 0). `blank_similarity`: whether an empty candidate is compared with its image, or scores 0.
    `semantic_types`: a list of reference/semantic_types.json. `both_empty`: the score of two empty captions in every
    metric except BLEURT. `relevance`: the metrics that are averaged into relevance.
    """

    bertscore: str
    similarity: str
    blank_similarity: bool
    semantic_types: str
    both_empty: float
    relevance: tuple[str, ...]

    def score_name(self, metric: str) -> str:
        """Which of a metric's raw scores the protocol uses, such as bertscore_f1."""
        names = {"bertscore": f"bertscore_{self.bertscore}", "umls_f1": f"umls_f1_{self.semantic_types}"}
        return names.get(metric, metric)


PROTOCOLS = {
    "as-described": Protocol(
        bertscore="recall",
        similarity="cosine",
        blank_similarity=True,
        semantic_types="medcon66",
        both_empty=1.0,
        relevance=RELEVANCE,
    ),
    "imageclef-2025": Protocol(
        bertscore="f1",
        similarity="official",
        blank_similarity=True,
        semantic_types="official127",
        both_empty=1.0,
        relevance=("similarity", "bertscore", "rouge1"),
    ),
    "imageclef-2026": Protocol(
        bertscore="f1",
        similarity="official",
        blank_similarity=False,
        semantic_types="official127",
        both_empty=1.0,
        relevance=RELEVANCE,
    ),
}


def apply_protocol(protocol: Protocol, raw: RawValues, candidates: Sequence[str], references: Sequence[str]) -> Scores:
    """{metric: one float per caption} under a protocol. Metrics without raw values are absent.

    `raw`: the evaluator's values, which serve all protocols; "similarity" is the plain cosine.
    """
    scores = {}
    for metric in METRICS:
        if (name := protocol.score_name(metric)) in raw:
            values = [0.0 if value is None else value for value in raw[name]]
            if metric == "similarity":
                values = _scale_similarity(protocol, raw[name], candidates)
            scores[metric] = _score_empty_pairs(metric, values, candidates, references, protocol)
    return scores


def _scale_similarity(protocol: Protocol, cosines: Sequence[float | None], candidates: Sequence[str]) -> list[float]:
    scale = SCALINGS[protocol.similarity]
    is_zero = [
        cosine is None or not (protocol.blank_similarity or text.strip())
        for cosine, text in zip(cosines, candidates, strict=True)
    ]
    return [0.0 if zero else scale(cosine or 0.0) for cosine, zero in zip(cosines, is_zero, strict=True)]


def _score_empty_pairs(
    metric: str, values: list[float], candidates: Sequence[str], references: Sequence[str], protocol: Protocol
) -> list[float]:
    """Replace the values of pairs of empty captions by the protocol's fixed score."""
    if metric in WITHOUT_EMPTY_RULE:
        return values
    is_empty = [not c.strip() and not r.strip() for c, r in zip(candidates, references, strict=True)]
    return [protocol.both_empty if empty else value for empty, value in zip(is_empty, values, strict=True)]


def means(scores: Mapping[str, Sequence[float]], protocol: Protocol, *, n: int) -> dict[str, float | int | None]:
    """The rounded means over n captions, then relevance, factuality, overall, and n.

    None for a metric that was not scored, and for an aggregate that lacks one of its metrics.
    """
    assert {len(values) for values in scores.values()} <= {n}, "metrics disagree on the number of captions"
    metric_means = {name: sum(scores[name]) / n if name in scores else None for name in METRICS}
    all_means: dict[str, float | None] = {**metric_means, **aggregates(metric_means, protocol)}
    return {name: None if value is None else round(value, PLACES) for name, value in all_means.items()} | {"n": n}


def aggregates(means: Mapping[str, float | None], protocol: Protocol) -> dict[str, float | None]:
    """relevance, factuality and overall: the plain means of their metrics; None if one of these is missing."""
    relevance = _mean([means.get(name) for name in protocol.relevance])
    factuality = _mean([means.get(name) for name in FACTUALITY])
    return {"relevance": relevance, "factuality": factuality, "overall": _mean([relevance, factuality])}


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None
