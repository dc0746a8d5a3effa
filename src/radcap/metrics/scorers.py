"""The scorers' checkpoints: trains miniatures, or finds published ones, and writes the record that Evaluator opens."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from radcap import files
from radcap.errors import UserError
from radcap.metrics.paths import RECORD, checkpoint_path
from radcap.settings import Scorers, ScorerSteps


def make_scorers(
    settings: Scorers, folder: Path, *, rows: Sequence[Mapping[str, Any]], general: Sequence[str], seed: int
) -> dict[str, Any]:
    """Write scorers.json into `folder`, with the miniatures beside it if the profile uses them.

    Miniatures learn from the `rows` (image, caption) of the train split, DeBERTa also from the `general` captions.
    Returns the record: {metric: the path and hashes of its checkpoint, or {"missing": why it is not scored}}.
    UserError: a miniature is to be trained for 0 steps.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if settings.weights == "miniature":
        entries = _train_miniatures(settings.steps, folder, rows=rows, general=general, seed=seed)
    else:
        entries = _find_published(settings, folder)
    if "missing" not in entries["bertscore"]:
        entries["bertscore"]["layer"] = settings.deberta_layer
    record = {"weights": settings.weights, "dtype": settings.dtype, **entries}
    files.write_json(folder / RECORD, record)
    return record


def _train_miniatures(
    steps: ScorerSteps, folder: Path, *, rows: Sequence[Mapping[str, Any]], general: Sequence[str], seed: int
) -> dict[str, dict[str, Any]]:
    """Train all miniatures into `folder`; return their entries of the record."""
    from radcap.metrics.miniatures.alignscore import train_alignscore
    from radcap.metrics.miniatures.bleurt import train_bleurt
    from radcap.metrics.miniatures.deberta import train_deberta
    from radcap.metrics.miniatures.medcat_pack import build_medcat_pack
    from radcap.metrics.miniatures.medimageinsight import train_medimageinsight

    if without_steps := [name for name, count in steps if not count]:
        raise UserError(f"scorers.steps.{without_steps[0]}: 0 trains no miniature; allowed: 1 and more")
    captions = [row["caption"] for row in rows] + list(general)
    train_medimageinsight(rows, folder / "medimageinsight", steps=steps.similarity, seed=seed)
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
    return {**trained, "umls_f1": _medcat_entry(folder, pack.name)}


def _find_published(settings: Scorers, folder: Path) -> dict[str, dict[str, Any]]:
    """The entry of each metric: where its checkpoint is, or the reason why it is missing."""
    finders: dict[str, Callable[[], dict[str, Any]]] = {
        "similarity": lambda: _local_entry(settings.medimageinsight, "MedImageInsight's published folder"),
        "bertscore": lambda: _hub_entry(settings.deberta, settings.deberta_revision),
        "bleurt": lambda: _hub_entry(settings.bleurt, settings.bleurt_revision),
        "alignscore": lambda: _alignscore_entry(settings, folder),
        "umls_f1": lambda: _medcat_entry(folder, settings.medcat_pack),
    }
    entries: dict[str, dict[str, Any]] = {}
    for name, find in finders.items():
        try:
            entries[name] = find()
        except UserError as error:
            entries[name] = {"missing": str(error)}
    return entries


def _local_entry(path: str, content: str) -> dict[str, Any]:
    local = Path(path).expanduser()
    if not local.is_dir():
        raise UserError(f"{path} not found; put {content} there")
    return {"checkpoint": str(local), "files": files.folder_hashes(local)}


def _hub_entry(checkpoint: str, revision: str) -> dict[str, Any]:
    from radcap.models.hub import download

    local = Path(checkpoint).expanduser()
    snapshot = local if local.is_dir() else download(checkpoint, revision)
    return {"checkpoint": str(snapshot), "files": files.folder_hashes(snapshot)}


def _alignscore_entry(settings: Scorers, folder: Path) -> dict[str, Any]:
    """A folder is used as it is. The published Lightning file is converted into `folder`, and its hash recorded."""
    punkt = settings.punkt if Path(settings.punkt).expanduser().is_dir() else None
    source = Path(settings.alignscore).expanduser()
    if not source.is_file():
        return _local_entry(settings.alignscore, "AlignScore-base.ckpt") | {"punkt": punkt}
    from radcap.metrics.alignscore_checkpoint import convert

    digest = convert(source, folder / "alignscore")
    hashes = files.folder_hashes(folder / "alignscore")
    return {"checkpoint": "alignscore", "files": hashes, "sha256": digest, "punkt": punkt}


def _medcat_entry(folder: Path, pack: str) -> dict[str, Any]:
    from radcap.metrics.umls_f1 import ConceptTagger

    local = checkpoint_path(folder, pack)
    if not local.exists():
        raise UserError(f"{pack} not found; a UMLS pack needs the user's own NLM licence")
    tagger = ConceptTagger(local)
    return {"checkpoint": pack, "hash": tagger.hash, "tokenizer": tagger.tokenizer}
