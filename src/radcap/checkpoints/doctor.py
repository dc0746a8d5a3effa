"""`radcap doctor`: what a profile needs, whether it is there, under which licence, and how to get it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from radcap import layout
from radcap.checkpoints import environment, present, remote, sources
from radcap.checkpoints.environment import Check
from radcap.checkpoints.fetch import block
from radcap.checkpoints.present import Found
from radcap.metrics.places import RECORD, place
from radcap.settings import MODALITY, Modality, Model, Profile, Scorers, Settings

NLM = "NLM's UMLS licence, your own; never redistributed"
# What CnnTransformer reads where no tokenizer lies beside its file (families.cnn_transformer.GPT2).
GPT2 = ("openai-community/gpt2", "607a30d783dfa663caf39e06633721c8d4cfcd7e")
CHEXNET = "CheXNet's public weights are their users' to fetch"


def report(params: Settings, profile: str) -> dict[str, Any]:
    """{"profile", "ready", "checks"}: ready where all that the profile needs is present. Loads no weights.

    UserError: no such profile.
    """
    chosen = block(params, profile)
    found = [
        *environment.checks(),
        data(chosen),
        *scorers(chosen.scorers, profile),
        modality(params.modality, chosen),
        *models(params, chosen),
    ]
    ready = all(check.state == "present" for check in found if check.needed)
    return {"profile": profile, "ready": ready, "checks": [asdict(check) for check in found]}


def render(found: dict[str, Any]) -> str:
    """The report as a table, and below each line that is not present how to get it."""
    checks: Sequence[dict[str, Any]] = found["checks"]
    wide = max(len(check["name"]) for check in checks)
    lines = []
    for check in checks:
        size = f"{remote.shown(check['size'])}, " if check["size"] else ""
        told = size + check["detail"] + (f" ({check['licence']})" if check["licence"] else "")
        lines.append(f"{check['name']:<{wide}}  {check['state']:<8}  {told}")
        if check["place"] and check["place"] not in told:
            lines.append(f"{'':<{wide}}  {'':<8}  in {check['place']}")
        if check["get"] and check["state"] != "present":
            lines.append(f"{'':<{wide}}  {'':<8}  get it: {check['get']}")
    absent = [check["name"] for check in checks if check["needed"] and check["state"] != "present"]
    last = f"not ready: {', '.join(absent)}" if absent else "all that it needs is there"
    return "\n".join([*lines, f"profile {found['profile']}: {last}", ""])


def data(profile: Profile) -> Check:
    """The images and captions that `prepare` reads."""
    if profile.data.source == "phantoms":
        return Check(name="data", state="present", detail="drawn by the pipeline: nothing needed")
    path = Path(profile.data.path).expanduser()
    found = Found("present") if path.is_dir() else Found("missing", f"{path} is not there")
    get = "put a folder in ROCOv2's layout there (README, Your own images)"
    return _check("data", found, path, get=get, licence="of each image, as its source says", detail="there")


def scorers(settings: Scorers, profile: str) -> list[Check]:
    """The checkpoints of all metrics that need one, and the data that two of them do without."""
    if settings.weights == "miniature":
        made = (layout.SCORERS / RECORD).exists()
        told = f"miniatures, {'there' if made else 'made by `dvc repro scorers`'}: nothing needed"
        return [Check(name="scorers", state="present", detail=told, place=str(layout.SCORERS))]
    fetch = f"radcap fetch scorers --profile {profile}"
    deberta = present.named(settings.deberta, settings.deberta_revision, present.model)
    bleurt = present.named(settings.bleurt, settings.bleurt_revision, present.bleurt)
    similarity, align, punkt = (
        Path(name).expanduser() for name in (settings.medimageinsight, settings.alignscore, settings.punkt)
    )
    pack = place(layout.SCORERS, settings.medcat_pack)
    looked: list[tuple[str, Found, Path | None, str]] = [
        ("similarity", present.medimageinsight(similarity), similarity, sources.SIMILARITY.licence),
        ("bertscore", *deberta, sources.BERTSCORE.licence),
        ("bleurt", *bleurt, sources.BLEURT.licence),
        ("alignscore", present.alignscore(align), align, sources.ALIGNSCORE.licence),
    ]
    get = f"{sources.UMLS_PACK} {settings.medcat_pack}"
    return [
        *(_check(name, found, at, get=fetch, licence=licence) for name, found, at, licence in looked),
        _check("umls_f1", present.pack(pack), pack, get=get, licence=NLM),
        _punkt(punkt, fetch),
        environment.ftfy(),
    ]


def modality(rules: Modality, profile: Profile) -> Check:
    """The weights that the modality classifier starts from."""
    if profile.weights == "miniature":
        return Check(name="modality", state="present", detail="a miniature: nothing needed")
    found, at = present.named(rules.checkpoint, rules.revision, present.model)
    get = f"`dvc repro` downloads it where the hub is reachable; or name a local folder in checkpoint of {MODALITY}"
    return _check("modality", found, at, get=get, licence="as its page on the hub says")


def models(params: Settings, profile: Profile) -> list[Check]:
    """Every model's published checkpoint."""
    if profile.weights == "miniature":
        return [Check(name="models", state="present", detail=f"{len(params.models)} miniatures: nothing needed")]
    clashing = sources.clashes(params, profile.scorers) if profile.scorers.weights == "published" else {}
    return [_model(key, model, clashing.get(key)) for key, model in params.models.items()]


def _model(key: str, model: Model, clash: str | None) -> Check:
    get = f"`dvc repro` downloads it where the hub is reachable; or name a local folder in models.{key}.checkpoint"
    if not model.checkpoint.endswith(sources.FILE_SUFFIXES):
        found, at = present.named(model.checkpoint, model.revision, present.model)
        return _check(key, found, at, get=get, licence="as its page on the hub says")
    path = Path(model.checkpoint).expanduser()
    found, get = present.file(path), f"{CHEXNET}; put the file at {model.checkpoint}"
    beside = [path.with_name(name) for name in ("vocab.json", "tokenizer.json") if path.with_name(name).exists()]
    if clash and beside:
        found, get = Found("damaged", clash), "move AlignScore's files"
    elif found.state == "present" and not beside and remote.cached_file(GPT2[0], "vocab.json", GPT2[1]) is None:
        found, get = Found("missing", f"{GPT2[0]}'s tokenizer, beside it or in the hub's cache"), GPT2[0]
    return _check(key, found, path, get=get, licence="CheXNet's own")


def _punkt(folder: Path, fetch: str) -> Check:
    found, licence = present.punkt(folder), sources.PUNKT.licence
    if found.state == "missing" and not folder.is_dir():
        told = "not there: AlignScore's sentences are split by a simpler rule, and scores say so"
        return Check(name="punkt_tab", state="fallback", detail=told, place=str(folder), licence=licence, get=fetch)
    # A folder that is there is opened, and without its files the run stops.
    whole = found if found.state == "present" else Found("damaged", found.reason)
    return _check("punkt_tab", whole, folder, get=fetch, licence=licence)


def _check(name: str, found: Found, path: Path | None, *, get: str, licence: str, detail: str = "whole") -> Check:
    return Check(
        name=name,
        state=found.state,
        detail=found.reason or detail,
        needed=True,
        place=str(path) if path else None,
        size=found.size or None,
        licence=licence,
        get=None if found.state == "present" else get,
    )
