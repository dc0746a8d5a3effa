"""The scorers' checkpoints, made from the train split or recorded where they lie, for the evaluator to open."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from radcap import files
from radcap.errors import UserError
from radcap.metrics.places import RECORD, place
from radcap.settings import Scorers, ScorerSteps


def make(
    settings: Scorers, folder: Path, *, rows: Sequence[Mapping[str, Any]], general: Sequence[str], seed: int
) -> dict[str, Any]:
    """Write scorers.json into `folder`, and the miniatures beside it where the profile asks for them.

    Miniatures learn from the train split's `rows` (image, caption), DeBERTa from `general` captions too. Returns
    {metric: its checkpoint's place and hashes, or {"missing": why it is not scored}}. UserError: a miniature is to be
    trained in no steps.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if settings.weights == "miniature":
        found = _miniatures(settings.steps, folder, rows=rows, general=general, seed=seed)
    else:
        found = _published(settings, folder)
    if "missing" not in found["bertscore"]:
        found["bertscore"]["layer"] = settings.deberta_layer
    record = {"weights": settings.weights, "dtype": settings.dtype, **found}
    files.write_json(folder / RECORD, record)
    return record


def _miniatures(
    steps: ScorerSteps, folder: Path, *, rows: Sequence[Mapping[str, Any]], general: Sequence[str], seed: int
) -> dict[str, dict[str, Any]]:
    """Train all into `folder`; their records."""
    from radcap.metrics.miniatures.alignscore import train_alignscore
    from radcap.metrics.miniatures.bleurt import train_bleurt
    from radcap.metrics.miniatures.deberta import train_deberta
    from radcap.metrics.miniatures.image_text import train_image_text
    from radcap.metrics.miniatures.medcat_pack import build_medcat_pack

    if idle := [name for name, count in steps if not count]:
        raise UserError(f"scorers.steps.{idle[0]}: 0 trains no miniature; allowed: 1 and more")
    captions = [row["caption"] for row in rows] + list(general)
    train_image_text(rows, folder / "medimageinsight", steps=steps.similarity, seed=seed)
    train_deberta(captions, folder / "deberta", steps=steps.bertscore, seed=seed)
    train_bleurt(folder / "bleurt", steps=steps.bleurt, seed=seed)
    train_alignscore(folder / "alignscore", steps=steps.alignscore, seed=seed)
    pack = build_medcat_pack(folder)
    checkpoints = {
        "similarity": "medimageinsight",
        "bertscore": "deberta",
        "bleurt": "bleurt",
        "alignscore": "alignscore",
    }
    trained = {
        metric: {"checkpoint": name, "files": files.folder_hashes(folder / name)}
        for metric, name in checkpoints.items()
    }
    return {**trained, "umls_f1": _pack(folder, pack.name)}


def _published(settings: Scorers, folder: Path) -> dict[str, dict[str, Any]]:
    """Where each lies; a checkpoint that is not there is told with its reason."""
    made: dict[str, Callable[[], dict[str, Any]]] = {
        "similarity": lambda: _local(settings.medimageinsight, "MedImageInsight's published folder"),
        "bertscore": lambda: _hub(settings.deberta, settings.deberta_revision),
        "bleurt": lambda: _hub(settings.bleurt, settings.bleurt_revision),
        "alignscore": lambda: _alignscore(settings, folder),
        "umls_f1": lambda: _pack(folder, settings.medcat_pack),
    }
    found: dict[str, dict[str, Any]] = {}
    for name, block in made.items():
        try:
            found[name] = block()
        except UserError as error:
            found[name] = {"missing": str(error)}
    return found


def _local(path: str, what: str) -> dict[str, Any]:
    local = Path(path).expanduser()
    if not local.is_dir():
        raise UserError(f"{path} not found; put {what} there")
    return {"checkpoint": str(local), "files": files.folder_hashes(local)}


def _hub(checkpoint: str, revision: str) -> dict[str, Any]:
    from radcap.models.hub import download

    local = Path(checkpoint).expanduser()
    found = local if local.is_dir() else download(checkpoint, revision)
    return {"checkpoint": str(found), "files": files.folder_hashes(found)}


def _alignscore(settings: Scorers, folder: Path) -> dict[str, Any]:
    """A folder as it is; the published Lightning file is converted into `folder`, its own hash recorded."""
    punkt = settings.punkt if Path(settings.punkt).expanduser().is_dir() else None
    source = Path(settings.alignscore).expanduser()
    if not source.is_file():
        return _local(settings.alignscore, "AlignScore-base.ckpt") | {"punkt": punkt}
    from radcap.metrics.alignscore_checkpoint import convert

    digest = convert(source, folder / "alignscore")
    hashes = files.folder_hashes(folder / "alignscore")
    return {"checkpoint": "alignscore", "files": hashes, "sha256": digest, "punkt": punkt}


def _pack(folder: Path, pack: str) -> dict[str, Any]:
    from radcap.metrics.umls_f1 import ConceptTagger

    local = place(folder, pack)
    if not local.exists():
        raise UserError(f"{pack} not found; a UMLS pack needs the user's own NLM licence")
    tagger = ConceptTagger(local)
    return {"checkpoint": pack, "hash": tagger.hash, "tokenizer": tagger.tokenizer}
