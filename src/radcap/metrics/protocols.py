"""How an evaluator scores, as data: the study's description, and what ImageCLEF's code did in 2025 and 2026."""

from collections.abc import Mapping
from dataclasses import dataclass

RELEVANCE = ("similarity", "bertscore", "rouge1", "bleurt")
FACTUALITY = ("umls_f1", "alignscore")


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """`bertscore`: which of (precision, recall, f1) counts. `semantic_types`: a list of reference/semantic_types.json.
    `both_empty`: what two empty captions score. `relevance`: the metrics whose mean it is."""

    bertscore: str
    semantic_types: str
    both_empty: float
    relevance: tuple[str, ...]


PROTOCOLS = {
    "as-described": Protocol(bertscore="recall", semantic_types="medcon66", both_empty=1.0, relevance=RELEVANCE),
    "imageclef-2025": Protocol(
        bertscore="f1",
        semantic_types="official127",
        both_empty=1.0,
        relevance=("similarity", "bertscore", "rouge1"),
    ),
    "imageclef-2026": Protocol(bertscore="f1", semantic_types="official127", both_empty=1.0, relevance=RELEVANCE),
}


def aggregates(means: Mapping[str, float | None], protocol: Protocol) -> dict[str, float | None]:
    """relevance, factuality and overall: plain means of their parts, None where a part is missing."""
    relevance = _mean([means.get(name) for name in protocol.relevance])
    factuality = _mean([means.get(name) for name in FACTUALITY])
    return {"relevance": relevance, "factuality": factuality, "overall": _mean([relevance, factuality])}


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None
