"""`radcap doctor`: what a profile needs, whether it is present, its licence, and how to get it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from radcap import layout
from radcap.assets import environment, inspection, remote, sources
from radcap.assets.environment import Check
from radcap.assets.fetch import profile_settings
from radcap.assets.inspection import Status
from radcap.metrics.paths import RECORD, checkpoint_path
from radcap.settings import MODALITY, Modality, Model, Profile, Scorers, Settings

NLM = "NLM's UMLS licence, your own; never redistributed"
# The tokenizer of CnnTransformer, if there is none beside its file (families.cnn_transformer.GPT2).
GPT2 = ("openai-community/gpt2", "607a30d783dfa663caf39e06633721c8d4cfcd7e")
CHEXNET = "download CheXNet's public weights yourself"


def report(params: Settings, profile: str) -> dict[str, Any]:
    """{"profile", "ready", "checks"}. A profile is ready if all that it needs is present. No weights are loaded.

    UserError: there is no such profile.
    """
    selected = profile_settings(params, profile)
    checks = [
        *environment.checks(),
        check_data(selected),
        *check_scorers(selected.scorers, profile),
        check_modality(params.modality, selected),
        *check_models(params, selected),
    ]
    ready = all(check.state == "present" for check in checks if check.needed)
    return {"profile": profile, "ready": ready, "checks": [asdict(check) for check in checks]}


def render(result: dict[str, Any]) -> str:
    """The report as a table. Below each entry that is not present it says how to get it."""
    checks: Sequence[dict[str, Any]] = result["checks"]
    width = max(len(check["name"]) for check in checks)
    lines = []
    for check in checks:
        size = f"{remote.format_size(check['size'])}, " if check["size"] else ""
        description = size + check["detail"] + (f" ({check['licence']})" if check["licence"] else "")
        lines.append(f"{check['name']:<{width}}  {check['state']:<8}  {description}")
        if check["place"] and check["place"] not in description:
            lines.append(f"{'':<{width}}  {'':<8}  in {check['place']}")
        if check["get"] and check["state"] != "present":
            lines.append(f"{'':<{width}}  {'':<8}  get it: {check['get']}")
    lacking = [check["name"] for check in checks if check["needed"] and check["state"] != "present"]
    summary = f"not ready, because it lacks: {', '.join(lacking)}" if lacking else "ready"
    return "\n".join([*lines, f"profile {result['profile']}: {summary}", ""])


def check_data(profile: Profile) -> Check:
    """The images and captions that `prepare` reads."""
    if profile.data.source == "phantoms":
        return Check(name="data", state="present", detail="drawn by the pipeline: nothing needed")
    path = Path(profile.data.path).expanduser()
    status = Status("present") if path.is_dir() else Status("missing", f"{path} is not there")
    get = "put a folder in ROCOv2's layout there (README, Your own images)"
    return _asset_check("data", status, path, get=get, licence="of each image, as its source says", detail="there")


def check_scorers(settings: Scorers, profile: str) -> list[Check]:
    """The checkpoints of all metrics that need one, and the optional data of two of them."""
    if settings.weights == "miniature":
        exist = (layout.SCORERS / RECORD).exists()
        detail = f"miniatures, {'there' if exist else 'made by `dvc repro scorers`'}: nothing needed"
        return [Check(name="scorers", state="present", detail=detail, place=str(layout.SCORERS))]
    fetch = f"radcap fetch scorers --profile {profile}"
    deberta = inspection.local_or_cached(settings.deberta, settings.deberta_revision, inspection.model)
    bleurt = inspection.local_or_cached(settings.bleurt, settings.bleurt_revision, inspection.bleurt)
    similarity, align, punkt = (
        Path(name).expanduser() for name in (settings.medimageinsight, settings.alignscore, settings.punkt)
    )
    pack = checkpoint_path(layout.SCORERS, settings.medcat_pack)
    checkpoints: list[tuple[str, Status, Path | None, str]] = [
        ("similarity", inspection.medimageinsight(similarity), similarity, sources.SIMILARITY.licence),
        ("bertscore", *deberta, sources.BERTSCORE.licence),
        ("bleurt", *bleurt, sources.BLEURT.licence),
        ("alignscore", inspection.alignscore(align), align, sources.ALIGNSCORE.licence),
    ]
    get = f"{sources.UMLS_PACK} {settings.medcat_pack}"
    return [
        *(_asset_check(name, status, path, get=fetch, licence=licence) for name, status, path, licence in checkpoints),
        _asset_check("umls_f1", inspection.pack(pack), pack, get=get, licence=NLM),
        _check_punkt(punkt, fetch),
        environment.ftfy(),
    ]


def check_modality(rules: Modality, profile: Profile) -> Check:
    """The weights that the modality classifier is fine-tuned from."""
    if profile.weights == "miniature":
        return Check(name="modality", state="present", detail="a miniature: nothing needed")
    status, path = inspection.local_or_cached(rules.checkpoint, rules.revision, inspection.model)
    get = f"`dvc repro` downloads it if the hub is reachable; or name a local folder in checkpoint of {MODALITY}"
    return _asset_check("modality", status, path, get=get, licence="as its page on the hub says")


def check_models(params: Settings, profile: Profile) -> list[Check]:
    """The published checkpoints of all models."""
    if profile.weights == "miniature":
        return [Check(name="models", state="present", detail=f"{len(params.models)} miniatures: nothing needed")]
    published = profile.scorers.weights == "published"
    conflicts = sources.tokenizer_conflicts(params, profile.scorers) if published else {}
    return [_check_model(key, model, conflicts.get(key)) for key, model in params.models.items()]


def _check_model(key: str, model: Model, conflict: str | None) -> Check:
    get = f"`dvc repro` downloads it if the hub is reachable; or name a local folder in models.{key}.checkpoint"
    if not model.checkpoint.endswith(sources.FILE_SUFFIXES):
        status, snapshot = inspection.local_or_cached(model.checkpoint, model.revision, inspection.model)
        return _asset_check(key, status, snapshot, get=get, licence="as its page on the hub says")
    path = Path(model.checkpoint).expanduser()
    status, get = inspection.file(path), f"{CHEXNET}, and put the file at {model.checkpoint}"
    tokenizer_files = [path.with_name(name) for name in ("vocab.json", "tokenizer.json")]
    has_tokenizer = any(file.exists() for file in tokenizer_files)
    if conflict and has_tokenizer:
        status, get = Status("damaged", conflict), "move AlignScore's files"
    elif status.state == "present" and not has_tokenizer and remote.cached_file(GPT2[0], "vocab.json", GPT2[1]) is None:
        status, get = Status("missing", f"{GPT2[0]}'s tokenizer, beside it or in the hub's cache"), GPT2[0]
    return _asset_check(key, status, path, get=get, licence="CheXNet's own")


def _check_punkt(folder: Path, fetch: str) -> Check:
    status, licence = inspection.punkt(folder), sources.PUNKT.licence
    if status.state == "missing" and not folder.is_dir():
        detail = "not there: AlignScore's sentences are split by a simpler rule, and scores record this"
        return Check(name="punkt_tab", state="fallback", detail=detail, place=str(folder), licence=licence, get=fetch)
    # If the folder exists it is used, and the run stops if files are missing. So this is not a fallback.
    checked = status if status.state == "present" else Status("damaged", status.reason)
    return _asset_check("punkt_tab", checked, folder, get=fetch, licence=licence)


def _asset_check(
    name: str, status: Status, path: Path | None, *, get: str, licence: str, detail: str = "complete"
) -> Check:
    return Check(
        name=name,
        state=status.state,
        detail=status.reason or detail,
        needed=True,
        place=str(path) if path else None,
        size=status.size or None,
        licence=licence,
        get=None if status.state == "present" else get,
    )
