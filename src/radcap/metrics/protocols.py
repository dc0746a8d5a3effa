"""How an evaluator scores, as data: the study's description, and what ImageCLEF's code did in 2025 and 2026."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

RELEVANCE = ("similarity", "bertscore", "rouge1", "bleurt")
FACTUALITY = ("umls_f1", "alignscore")
METRICS = (*RELEVANCE, *FACTUALITY)
# The official code answers for two empty captions before it asks a metric, but for BLEURT.
WITHOUT_EMPTY_RULE = frozenset({"bleurt"})
# CLIPScore's factor (Hessel et al. 2021), which the official evaluators took over without its clipping at 1.
SCALINGS: dict[str, Callable[[float], float]] = {
    "cosine": lambda cosine: cosine,
    "official": lambda cosine: 2.5 * max(cosine, 0.0),
}
# One value per caption; None: there is no image, which scores 0.
Measures = Mapping[str, Sequence[float | None]]
Scores = dict[str, list[float]]


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """`bertscore`: which of (precision, recall, f1) counts. `similarity`: its scaling, plain cosine or the official
    2.5 * max(cosine, 0). `blank_similarity`: whether an empty candidate is compared at all (else 0).
    `semantic_types`: a list of reference/semantic_types.json. `both_empty`: what two empty captions score in every
    metric but BLEURT. `relevance`: the metrics whose mean it is."""

    bertscore: str
    similarity: str
    blank_similarity: bool
    semantic_types: str
    both_empty: float
    relevance: tuple[str, ...]

    def measure(self, metric: str) -> str:
        """Which of a metric's measures the protocol counts."""
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


def apply(protocol: Protocol, measures: Measures, candidates: Sequence[str], references: Sequence[str]) -> Scores:
    """{metric: one float per caption} of what was measured once for all protocols; what was not measured is absent.

    `measures`: the evaluator's, with "similarity" as plain cosine.
    """
    found = {}
    for metric in METRICS:
        if (name := protocol.measure(metric)) in measures:
            values = [0.0 if value is None else value for value in measures[name]]
            if metric == "similarity":
                values = _scaled(protocol, measures[name], candidates)
            found[metric] = _with_empty_rule(metric, values, candidates, references, protocol)
    return found


def _scaled(protocol: Protocol, cosines: Sequence[float | None], candidates: Sequence[str]) -> list[float]:
    scale = SCALINGS[protocol.similarity]
    zero = [
        cosine is None or not (protocol.blank_similarity or text.strip())
        for cosine, text in zip(cosines, candidates, strict=True)
    ]
    return [0.0 if skip else scale(cosine or 0.0) for cosine, skip in zip(cosines, zero, strict=True)]


def _with_empty_rule(
    metric: str, values: list[float], candidates: Sequence[str], references: Sequence[str], protocol: Protocol
) -> list[float]:
    """A metric's values with the protocol's own where both captions are empty."""
    if metric in WITHOUT_EMPTY_RULE:
        return values
    empty = [not c.strip() and not r.strip() for c, r in zip(candidates, references, strict=True)]
    return [protocol.both_empty if both else value for both, value in zip(empty, values, strict=True)]


def aggregates(means: Mapping[str, float | None], protocol: Protocol) -> dict[str, float | None]:
    """relevance, factuality and overall: plain means of their parts, None where a part is missing."""
    relevance = _mean([means.get(name) for name in protocol.relevance])
    factuality = _mean([means.get(name) for name in FACTUALITY])
    return {"relevance": relevance, "factuality": factuality, "overall": _mean([relevance, factuality])}


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None
