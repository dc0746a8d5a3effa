"""Scores captions by all metrics: opens the scorers of a folder once, then scores any captions under all protocols."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from radcap import files
from radcap.errors import UserError
from radcap.metrics.paths import RECORD, checkpoint_path
from radcap.metrics.protocols import METRICS
from radcap.metrics.raw_scores import RawScores
from radcap.metrics.rouge1 import Rouge1Scorer
from radcap.runtime.records import versions

PACKAGES = (
    *("bert-score", "rouge-score", "medcat", "nltk", "sentencepiece"),
    *("torch", "transformers", "tokenizers", "pillow"),
)
Texts = Sequence[str]
Images = Sequence[bytes | None] | None


class LoadedScorer(NamedTuple):
    """A scorer. `add_scores` fills in a RawScores; `identity`: what its values depend on besides the record."""

    add_scores: Callable[[RawScores, Images], None]
    identity: dict[str, Any]


class Evaluator:
    """Scores with the checkpoints that scorers.json in `folder` names, by the given `metrics`.

    `images`: whether there are images, which similarity needs. `cache`: a folder in which values of references and
    images are shared with other processes. `processes`: how many look for concepts. The attribute `missing` is
    {metric: why it is not scored}. UserError: there is no such record, or one of its checkpoints cannot be opened.
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
        self.scorers: dict[str, LoadedScorer] = {}
        for name in metrics:
            entry = self.record.get(name, {"missing": f"no checkpoint in {folder / RECORD}"})
            if name == "rouge1":
                self.scorers[name] = _load_rouge1()
            elif name == "similarity" and not images:
                self.missing[name] = "no images given"
            elif reason := entry.get("missing"):
                self.missing[name] = reason
            else:
                options = {"dtype": self.record.get("dtype", "float32"), "processes": processes}
                if name != "umls_f1":
                    _silence_transformers()
                scorer_cache = cache / f"{name}-{self._digest(entry)}" if cache else None
                self.scorers[name] = LOADERS[name](
                    checkpoint_path(folder, entry["checkpoint"]), entry, options, scorer_cache
                )

    def score(self, candidates: Texts, references: Texts, images: Images = None) -> RawScores:
        """The raw scores of captions, which serve every protocol. UserError: a caption is not a text."""
        for side, texts in (("candidate", candidates), ("reference", references)):
            for number, text in enumerate(texts):
                if not isinstance(text, str):
                    raise UserError(f"{side} {number} is {text!r}, which is not a text")
        raw = RawScores(list(candidates), list(references), missing=self.missing)
        for scorer in self.scorers.values():
            scorer.add_scores(raw, images)
        return raw

    def identity(self) -> dict[str, Any]:
        """What the scores depend on besides the captions: checkpoints with their hashes, and package versions."""
        identities = {name: scorer.identity for name, scorer in self.scorers.items() if scorer.identity}
        return {
            "checkpoints": self.record,
            "opened": identities,
            "missing": self.missing,
            "packages": versions(*PACKAGES),
        }

    def _digest(self, entry: dict[str, Any]) -> str:
        """A hash of everything that a cached value depends on."""
        inputs = {**entry, "dtype": self.record.get("dtype"), "packages": versions(*PACKAGES)}
        return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:16]


def shuffle_captions(captions: Sequence[str]) -> list[str]:
    """The shuffled baseline, which scores what a model knows without looking at the image.

    Each image gets the caption of the image half the split away, so that none keeps its own. Nothing is random.
    """
    half = len(captions) // 2
    return [*captions[half:], *captions[:half]]


def _silence_transformers() -> None:
    """Turn off its progress bars for weights, and its warnings of long texts, which the scorers truncate and count."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()


def _load_rouge1() -> LoadedScorer:
    scorer = Rouge1Scorer()

    def add_scores(raw: RawScores, _: Images) -> None:
        raw.values["rouge1"] = scorer.score(raw.candidates, raw.references)

    return LoadedScorer(add_scores, {})


def _load_bertscore(
    checkpoint: Path, entry: dict[str, Any], options: dict[str, Any], cache: Path | None
) -> LoadedScorer:
    from radcap.metrics.bertscore import BertScorer

    scorer = BertScorer(checkpoint, layer=entry["layer"], dtype=options["dtype"], cache=cache)

    def add_scores(raw: RawScores, _: Images) -> None:
        texts = raw.candidates, raw.references
        raw.values |= {f"bertscore_{part}": values for part, values in scorer.score(*texts).items()}
        raw.truncated["bertscore"] = scorer.count_truncated(*texts)

    return LoadedScorer(add_scores, {})


def _load_umls_f1(checkpoint: Path, _: dict[str, Any], options: dict[str, Any], cache: Path | None) -> LoadedScorer:
    from radcap.metrics.umls_f1 import TYPE_LISTS, ConceptTagger, f1

    tagger = ConceptTagger(checkpoint, processes=options["processes"], cache=cache)

    def add_scores(raw: RawScores, _: Images) -> None:
        tagger.find_concepts(raw.references, raw.candidates)
        for name in TYPE_LISTS:
            sides = [tagger.concepts(texts, semantic_types=name) for texts in (raw.candidates, raw.references)]
            raw.values[f"umls_f1_{name}"] = [f1(cand, ref) for cand, ref in zip(*sides, strict=True)]
            raw.concepts |= {f"candidate_cuis/{name}": sides[0], f"reference_cuis/{name}": sides[1]}

    return LoadedScorer(add_scores, {})


def _load_bleurt(checkpoint: Path, _: dict[str, Any], options: dict[str, Any], __: Path | None) -> LoadedScorer:
    from radcap.metrics.bleurt import BleurtScorer

    scorer = BleurtScorer(checkpoint, dtype=options["dtype"])

    def add_scores(raw: RawScores, _: Images) -> None:
        texts = raw.candidates, raw.references
        raw.values["bleurt"], raw.truncated["bleurt"] = scorer.score(*texts), scorer.count_truncated(*texts)

    return LoadedScorer(add_scores, {})


def _load_alignscore(checkpoint: Path, entry: dict[str, Any], options: dict[str, Any], _: Path | None) -> LoadedScorer:
    from radcap.metrics.alignscore import AlignScorer

    punkt = Path(entry["punkt"]) if entry.get("punkt") else None
    scorer = AlignScorer(checkpoint, dtype=options["dtype"], punkt=punkt)

    def add_scores(raw: RawScores, _: Images) -> None:
        texts = raw.candidates, raw.references
        raw.values["alignscore"], raw.truncated["alignscore"] = scorer.score(*texts), scorer.count_truncated(*texts)

    return LoadedScorer(add_scores, {"sentence_splitter": scorer.splitter})


def _load_similarity(checkpoint: Path, _: dict[str, Any], options: dict[str, Any], cache: Path | None) -> LoadedScorer:
    from radcap.metrics.similarity import SimilarityScorer

    scorer = SimilarityScorer(checkpoint, dtype=options["dtype"], cache=cache and cache / "images.safetensors")

    def add_scores(raw: RawScores, images: Images) -> None:
        raw.values["similarity"] = scorer.score(raw.candidates, images or [None] * len(raw.candidates))
        raw.truncated["similarity"] = scorer.count_truncated(raw.candidates)
        raw.images = {
            "missing": scorer.missing,
            "unreadable": scorer.unreadable,
            **{f"converted from {mode}": count for mode, count in scorer.conversions.items()},
        }

    return LoadedScorer(add_scores, {"text_repair": scorer.text_repair})


LOADERS: dict[str, Callable[[Path, dict[str, Any], dict[str, Any], Path | None], LoadedScorer]] = {
    "similarity": _load_similarity,
    "bertscore": _load_bertscore,
    "bleurt": _load_bleurt,
    "umls_f1": _load_umls_f1,
    "alignscore": _load_alignscore,
}
