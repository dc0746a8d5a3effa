"""The scorers' checkpoints, made from captions or recorded where they lie, for the evaluator to open."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from radcap import files
from radcap.errors import UserError
from radcap.metrics.places import RECORD, place
from radcap.settings import Scorers

WITHOUT_MINIATURE = ("similarity", "bleurt", "alignscore")


def make(settings: Scorers, folder: Path, *, captions: Sequence[str], seed: int) -> dict[str, Any]:
    """Write scorers.json into `folder`, and the miniatures beside it where the profile asks for them.

    {metric: its checkpoint's place and hashes, or {"missing": why it is not scored}}. UserError: DeBERTa or the MedCAT
    pack is not there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if settings.weights == "miniature":
        from radcap.metrics import miniatures

        miniatures.train_deberta(captions, folder / "deberta", steps=settings.steps, seed=seed)
        miniatures.build_medcat_pack(folder)
        deberta, pack, revision = "deberta", "medcat.zip", None
        others = {name: {"missing": "no small model of it is in the sample"} for name in WITHOUT_MINIATURE}
    else:
        deberta, pack, revision = settings.deberta, settings.medcat_pack, settings.deberta_revision
        others = _published(settings, folder)
    record = {
        "weights": settings.weights,
        "bertscore": _deberta_record(folder, deberta, revision) | {"layer": settings.deberta_layer},
        "umls_f1": _pack_record(folder, pack),
        **others,
    }
    files.write_json(folder / RECORD, record)
    return record


def _published(settings: Scorers, folder: Path) -> dict[str, dict[str, Any]]:
    """The metrics that a run can do without: a checkpoint that is not there is told with its reason."""
    made: dict[str, Callable[[], dict[str, Any]]] = {
        "similarity": lambda: _local(settings.medimageinsight, "MedImageInsight's published folder"),
        "bleurt": lambda: _hub(settings.bleurt, settings.bleurt_revision),
        "alignscore": lambda: _alignscore(settings, folder),
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


def _deberta_record(folder: Path, checkpoint: str, revision: str | None) -> dict[str, Any]:
    local = place(folder, checkpoint)
    if not local.is_dir():
        from radcap.models.hub import download

        local = download(checkpoint, str(revision))
        checkpoint = str(local)
    return {"checkpoint": checkpoint, "files": files.folder_hashes(local)}


def _pack_record(folder: Path, pack: str) -> dict[str, Any]:
    from radcap.metrics.umls_f1 import ConceptTagger

    local = place(folder, pack)
    if not local.exists():
        raise UserError(f"scorers.medcat_pack: {pack!r} not found; a UMLS pack needs the user's own NLM licence")
    tagger = ConceptTagger(local)
    return {"checkpoint": pack, "hash": tagger.hash, "tokenizer": tagger.tokenizer}
