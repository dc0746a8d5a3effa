"""The scorers' checkpoints, made from captions or recorded where they lie, for the evaluator to open."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from radcap import files
from radcap.errors import UserError
from radcap.metrics.places import RECORD, place
from radcap.settings import Scorers


def make(settings: Scorers, folder: Path, *, captions: Sequence[str], seed: int) -> dict[str, Any]:
    """Write scorers.json into `folder`, and the miniatures beside it where the profile asks for them."""
    folder.mkdir(parents=True, exist_ok=True)
    if settings.weights == "miniature":
        from radcap.metrics import miniatures

        miniatures.train_deberta(captions, folder / "deberta", steps=settings.steps, seed=seed)
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
