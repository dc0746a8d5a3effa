"""The scorers' checkpoints: made or recorded by the `scorers` stage, opened by `score`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from radcap import files
from radcap.errors import UserError
from radcap.metrics import rouge1
from radcap.metrics.protocols import Protocol
from radcap.records import versions
from radcap.settings import Scorers

RECORD = "scorers.json"
METRICS = ("bertscore", "rouge1", "umls_f1")


def make(settings: Scorers, folder: Path, *, captions: Sequence[str], seed: int) -> dict[str, Any]:
    """Write scorers.json into `folder`, and the miniatures beside it where the profile asks for them."""
    folder.mkdir(parents=True, exist_ok=True)
    if settings.weights == "miniature":
        from radcap.metrics import miniatures

        miniatures.train_deberta(captions, folder / "deberta", seed=seed)
        miniatures.build_medcat_pack(folder)
        deberta, pack, revision = "deberta", "medcat.zip", None
    else:
        deberta, pack, revision = settings.deberta, settings.medcat_pack, settings.deberta_revision
    record = {
        "weights": settings.weights,
        "bertscore": _deberta_record(folder, deberta, revision) | {"layer": settings.deberta_layer},
        "umls_f1": _pack_record(folder, pack),
    }
    files.write_json(folder / RECORD, record)
    return record


def _deberta_record(folder: Path, checkpoint: str, revision: str | None) -> dict[str, Any]:
    local = _local(folder, checkpoint)
    if not local.is_dir():
        from radcap.models.base import download

        local = download(checkpoint, str(revision))
        checkpoint = str(local)
    return {"checkpoint": checkpoint, "files": files.folder_hashes(local)}


def _pack_record(folder: Path, pack: str) -> dict[str, Any]:
    from radcap.metrics.umls_f1 import ConceptTagger

    local = _local(folder, pack)
    if not local.exists():
        raise UserError(f"scorers.medcat_pack: {pack!r} not found; a UMLS pack needs the user's own NLM licence")
    tagger = ConceptTagger(local)
    return {"checkpoint": pack, "hash": tagger.hash, "tokenizer": tagger.tokenizer}


def _local(folder: Path, place: str) -> Path:
    inside = folder / place
    return inside if inside.exists() else Path(place).expanduser()


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
        self.bert = BertScorer(_local(self.folder, bert["checkpoint"]), layer=bert["layer"])
        self.tagger = ConceptTagger(_local(self.folder, self.record["umls_f1"]["checkpoint"]))

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
