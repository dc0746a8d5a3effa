"""resolved/: one file per stage and model with everything but data that its result depends on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from radcap import files
from radcap.pipeline.code import PACKAGE, code
from radcap.pipeline.parameters import MODEL_STAGES, STAGES, parameters
from radcap.settings import Settings


def resolved(settings: Settings, stage: str, model: str | None = None) -> dict[str, Any]:
    """{"parameters": those that the stage reads, "code": hashes of the modules that it runs}."""
    family = settings.model(model).family if model and stage != "score" else None
    hashes = code(script(stage), stage, family=family, model=model if family else None)
    return {"parameters": parameters(settings, stage, model), "code": hashes}


def everything(settings: Settings) -> dict[str, dict[str, Any]]:
    """{name of the stage as in DVC, "stage" or "stage@model": resolved(...)}."""
    return {
        f"{stage}@{model}" if model else stage: resolved(settings, stage, model)
        for stage in STAGES
        for model in (settings.models if stage in MODEL_STAGES else [None])
    }


def write(settings: Settings, folder: Path) -> None:
    """Write <stage>.json, or <stage>/<model>.json, for every stage."""
    for name, content in everything(settings).items():
        files.write_json(folder / f"{name.replace('@', '/')}.json", content)


def script(stage: str) -> Path:
    """The script of a stage: the project's own, or else the one beside the package's source."""
    path = Path("stages") / f"{stage}.py"
    return path.resolve() if path.is_file() else PACKAGE.parents[1] / "stages" / f"{stage}.py"
