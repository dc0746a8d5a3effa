"""The scorers of a folder, opened once, for any captions against their references under one protocol."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from radcap import files
from radcap.errors import UserError
from radcap.metrics import rouge1
from radcap.metrics.places import RECORD, place
from radcap.metrics.protocols import METRICS, Protocol, with_empty_rule
from radcap.records import versions

PACKAGES = ("bert-score", "rouge-score", "medcat", "sentencepiece", "torch", "transformers", "tokenizers")
Scores = dict[str, list[float]]


class Evaluator:
    """Scores with what scorers.json in `folder` names, of the asked `metrics`.

    `missing`: {metric: why it is not scored}, for metrics that were asked for. UserError: no such record, or a
    checkpoint in it that cannot be opened.
    """

    def __init__(self, folder: Path, *, metrics: Sequence[str] = METRICS, images: bool = True) -> None:
        if not (folder / RECORD).exists():
            raise UserError(f"{folder / RECORD} not found; `dvc repro scorers` makes it")
        self.folder, self.record = folder, files.read_json(folder / RECORD)
        self.missing: dict[str, str] = {}
        self.metrics: dict[str, Callable[..., list[float]]] = {}
        for name in metrics:
            block = self.record.get(name, {"missing": f"no checkpoint in {folder / RECORD}"})
            if name == "rouge1":
                self.metrics[name] = lambda c, r, i, p: rouge1.score(c, r)
            elif name == "similarity" and not images:
                self.missing[name] = "no images given"
            elif reason := block.get("missing"):
                self.missing[name] = reason
            else:
                self.metrics[name] = OPENERS[name](place(folder, block["checkpoint"]), block)

    def score(
        self,
        candidates: Sequence[str],
        references: Sequence[str],
        protocol: Protocol,
        *,
        images: Sequence[bytes | None] | None = None,
    ) -> Scores:
        """{metric: one float per caption}, by the protocol where both captions are empty; `missing` ones are absent."""
        found = {}
        for name, scorer in self.metrics.items():
            values = scorer(candidates, references, images, protocol)
            found[name] = with_empty_rule(name, values, candidates, references, protocol)
        return found

    def identity(self) -> dict[str, Any]:
        """What the scores depend on besides captions: checkpoints with their hashes, package versions."""
        return {"checkpoints": self.record, "missing": self.missing, "packages": versions(*PACKAGES)}


def _bertscore(checkpoint: Path, block: dict[str, Any]) -> Callable[..., list[float]]:
    from radcap.metrics.bertscore import BertScorer

    scorer = BertScorer(checkpoint, layer=block["layer"])
    return lambda candidates, references, _, protocol: scorer.score(candidates, references, part=protocol.bertscore)


def _umls_f1(checkpoint: Path, _: dict[str, Any]) -> Callable[..., list[float]]:
    from radcap.metrics.umls_f1 import ConceptTagger

    tagger = ConceptTagger(checkpoint)
    return lambda candidates, references, _, protocol: tagger.score(
        candidates, references, semantic_types=protocol.semantic_types
    )


def _bleurt(checkpoint: Path, _: dict[str, Any]) -> Callable[..., list[float]]:
    from radcap.metrics.bleurt import BleurtScorer

    scorer = BleurtScorer(checkpoint)
    return lambda candidates, references, _, __: scorer.score(candidates, references)


def _alignscore(checkpoint: Path, block: dict[str, Any]) -> Callable[..., list[float]]:
    from radcap.metrics.alignscore import AlignScorer

    scorer = AlignScorer(checkpoint, punkt=Path(block["punkt"]) if block.get("punkt") else None)
    return lambda candidates, references, _, __: scorer.score(candidates, references)


def _similarity(checkpoint: Path, _: dict[str, Any]) -> Callable[..., list[float]]:
    from radcap.metrics.similarity import SimilarityScorer

    scorer = SimilarityScorer(checkpoint)
    return lambda candidates, references, images, protocol: scorer.score(
        candidates,
        references,
        images,
        scaling=protocol.similarity,
        empty_is_zero=not protocol.blank_similarity,
    )


OPENERS: dict[str, Callable[[Path, dict[str, Any]], Callable[..., list[float]]]] = {
    "similarity": _similarity,
    "bertscore": _bertscore,
    "bleurt": _bleurt,
    "umls_f1": _umls_f1,
    "alignscore": _alignscore,
}
