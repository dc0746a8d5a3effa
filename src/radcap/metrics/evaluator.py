"""The scorers of a folder, opened once, for any captions against their references under all protocols."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from radcap import files
from radcap.errors import UserError
from radcap.metrics.measured import Measured
from radcap.metrics.places import RECORD, place
from radcap.metrics.protocols import METRICS
from radcap.metrics.rouge1 import Rouge1
from radcap.runtime.records import versions

PACKAGES = (
    *("bert-score", "rouge-score", "medcat", "nltk", "sentencepiece"),
    *("torch", "transformers", "tokenizers", "pillow"),
)
Texts = Sequence[str]
Images = Sequence[bytes | None] | None


class Opened(NamedTuple):
    """A scorer. `measure` fills in a Measured; `identity`: what its values depend on besides the record."""

    measure: Callable[[Measured, Images], None]
    identity: dict[str, Any]


class Evaluator:
    """Scores with what scorers.json in `folder` names, of the asked `metrics`.

    `cache`: a folder that keeps what was computed of references and images for other processes. `processes` look for
    concepts. `missing`: {metric: why it is not scored}, for metrics that were asked for. UserError: no such record, or
    a checkpoint in it that cannot be opened.
    """

    def __init__(
        self,
        folder: Path,
        *,
        metrics: Sequence[str] = METRICS,
        images: bool = True,
        cache: Path | None = None,
        processes: int = 1,
    ) -> None:
        if not (folder / RECORD).exists():
            raise UserError(f"{folder / RECORD} not found; `dvc repro scorers` makes it")
        self.record = files.read_json(folder / RECORD)
        self.missing: dict[str, str] = {}
        self.scorers: dict[str, Opened] = {}
        for name in metrics:
            block = self.record.get(name, {"missing": f"no checkpoint in {folder / RECORD}"})
            if name == "rouge1":
                self.scorers[name] = _rouge1()
            elif name == "similarity" and not images:
                self.missing[name] = "no images given"
            elif reason := block.get("missing"):
                self.missing[name] = reason
            else:
                options = {"dtype": self.record.get("dtype", "float32"), "processes": processes}
                if name != "umls_f1":
                    _quieten()
                kept = cache / f"{name}-{self._digest(block)}" if cache else None
                self.scorers[name] = OPENERS[name](place(folder, block["checkpoint"]), block, options, kept)

    def measure(self, candidates: Texts, references: Texts, images: Images = None) -> Measured:
        """All that the scorers say of the captions, for every protocol. UserError: a caption that is no text."""
        for side, texts in (("candidate", candidates), ("reference", references)):
            for number, text in enumerate(texts):
                if not isinstance(text, str):
                    raise UserError(f"{side} {number} is {text!r}, which is no text")
        found = Measured(list(candidates), list(references), missing=self.missing)
        for scorer in self.scorers.values():
            scorer.measure(found, images)
        return found

    def identity(self) -> dict[str, Any]:
        """What the scores depend on besides captions: checkpoints with their hashes, package versions."""
        opened = {name: scorer.identity for name, scorer in self.scorers.items() if scorer.identity}
        return {
            "checkpoints": self.record,
            "opened": opened,
            "missing": self.missing,
            "packages": versions(*PACKAGES),
        }

    def _digest(self, block: dict[str, Any]) -> str:
        """Of all that a kept value depends on."""
        defining = {**block, "dtype": self.record.get("dtype"), "packages": versions(*PACKAGES)}
        return hashlib.sha256(json.dumps(defining, sort_keys=True).encode()).hexdigest()[:16]


def _quieten() -> None:
    """transformers shows a bar for every file of weights, and warns of texts that the scorers then cut and count."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()


def _rouge1() -> Opened:
    scorer = Rouge1()

    def measure(found: Measured, _: Images) -> None:
        found.values["rouge1"] = scorer.score(found.candidates, found.references)

    return Opened(measure, {})


def _bertscore(checkpoint: Path, block: dict[str, Any], options: dict[str, Any], cache: Path | None) -> Opened:
    from radcap.metrics.bertscore import BertScorer

    scorer = BertScorer(checkpoint, layer=block["layer"], dtype=options["dtype"], cache=cache)

    def measure(found: Measured, _: Images) -> None:
        texts = found.candidates, found.references
        found.values |= {f"bertscore_{part}": values for part, values in scorer.score(*texts).items()}
        found.truncated["bertscore"] = scorer.truncated(*texts)

    return Opened(measure, {})


def _umls_f1(checkpoint: Path, _: dict[str, Any], options: dict[str, Any], cache: Path | None) -> Opened:
    from radcap.metrics.umls_f1 import LISTS, ConceptTagger, f1

    tagger = ConceptTagger(checkpoint, processes=options["processes"], cache=cache)

    def measure(found: Measured, _: Images) -> None:
        tagger.keep(found.references, found.candidates)
        for name in LISTS:
            sides = [tagger.concepts(texts, semantic_types=name) for texts in (found.candidates, found.references)]
            found.values[f"umls_f1_{name}"] = [f1(cand, ref) for cand, ref in zip(*sides, strict=True)]
            found.concepts |= {f"candidate_cuis/{name}": sides[0], f"reference_cuis/{name}": sides[1]}

    return Opened(measure, {})


def _bleurt(checkpoint: Path, _: dict[str, Any], options: dict[str, Any], __: Path | None) -> Opened:
    from radcap.metrics.bleurt import BleurtScorer

    scorer = BleurtScorer(checkpoint, dtype=options["dtype"])

    def measure(found: Measured, _: Images) -> None:
        texts = found.candidates, found.references
        found.values["bleurt"], found.truncated["bleurt"] = scorer.score(*texts), scorer.truncated(*texts)

    return Opened(measure, {})


def _alignscore(checkpoint: Path, block: dict[str, Any], options: dict[str, Any], _: Path | None) -> Opened:
    from radcap.metrics.alignscore import AlignScorer

    punkt = Path(block["punkt"]) if block.get("punkt") else None
    scorer = AlignScorer(checkpoint, dtype=options["dtype"], punkt=punkt)

    def measure(found: Measured, _: Images) -> None:
        texts = found.candidates, found.references
        found.values["alignscore"], found.truncated["alignscore"] = scorer.score(*texts), scorer.truncated(*texts)

    return Opened(measure, {"sentence_splitter": scorer.splitter})


def _similarity(checkpoint: Path, _: dict[str, Any], options: dict[str, Any], cache: Path | None) -> Opened:
    from radcap.metrics.similarity import SimilarityScorer

    scorer = SimilarityScorer(checkpoint, dtype=options["dtype"], cache=cache and cache / "images.safetensors")

    def measure(found: Measured, images: Images) -> None:
        found.values["similarity"] = scorer.score(found.candidates, images or [None] * len(found.candidates))
        found.truncated["similarity"] = scorer.truncated(found.candidates)
        found.images = {
            "missing": scorer.missing,
            "unreadable": scorer.unreadable,
            **{f"converted from {mode}": count for mode, count in scorer.conversions.items()},
        }

    return Opened(measure, {"text_repair": scorer.text_repair})


OPENERS: dict[str, Callable[[Path, dict[str, Any], dict[str, Any], Path | None], Opened]] = {
    "similarity": _similarity,
    "bertscore": _bertscore,
    "bleurt": _bleurt,
    "umls_f1": _umls_f1,
    "alignscore": _alignscore,
}
