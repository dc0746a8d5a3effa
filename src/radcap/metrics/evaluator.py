"""Every scorer opened once, for any captions against their references under one protocol."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from radcap import files
from radcap.errors import UserError
from radcap.metrics import rouge1
from radcap.metrics.places import RECORD, place
from radcap.metrics.protocols import Protocol
from radcap.records import versions


@dataclass
class Evaluator:
    """Every scorer opened once; `score` takes any captions against their references under one protocol."""

    folder: Path

    def __post_init__(self) -> None:
        from radcap.metrics.bertscore import BertScorer
        from radcap.metrics.umls_f1 import ConceptTagger

        if not (self.folder / RECORD).exists():
            raise UserError(f"{self.folder / RECORD} not found; `dvc repro scorers` makes it")
        self.record = files.read_json(self.folder / RECORD)
        bert = self.record["bertscore"]
        self.bert = BertScorer(place(self.folder, bert["checkpoint"]), layer=bert["layer"])
        self.tagger = ConceptTagger(place(self.folder, self.record["umls_f1"]["checkpoint"]))

    def score(self, candidates: Sequence[str], references: Sequence[str], protocol: Protocol) -> dict[str, list[float]]:
        """{metric: one float per caption}. Two empty captions score the protocol's `both_empty`."""
        found = {
            "bertscore": self.bert.score(candidates, references, part=protocol.bertscore),
            "rouge1": rouge1.score(candidates, references),
            "umls_f1": self.tagger.score(candidates, references, semantic_types=protocol.semantic_types),
        }
        empty = [not c.strip() and not r.strip() for c, r in zip(candidates, references, strict=True)]
        return {
            name: [protocol.both_empty if both else value for both, value in zip(empty, values, strict=True)]
            for name, values in found.items()
        }

    def identity(self) -> dict[str, Any]:
        """What the scores depend on besides captions: checkpoints with their hashes, package versions."""
        packages = versions("bert-score", "rouge-score", "medcat", "torch", "transformers", "tokenizers")
        return {"checkpoints": self.record, "packages": packages}
