"""resolved/: a file per stage and model with all that its result depends on besides its data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from radcap import files
from radcap.pipeline.code import PACKAGE, code
from radcap.pipeline.parameters import MODEL_STAGES, STAGES, parameters
from radcap.settings import Settings


def resolved(settings: Settings, stage: str, model: str | None = None) -> dict[str, Any]:
    """{"parameters": what the stage reads, "code": what it runs}."""
    family = settings.model(model).family if model and stage != "score" else None
    found = code(script(stage), stage, family=family, model=model if family else None)
    return {"parameters": parameters(settings, stage, model), "code": found}


def everything(settings: Settings) -> dict[str, dict[str, Any]]:
    """{"stage", or "stage@model" where one runs per model: resolved}, as DVC names them."""
    return {
        f"{stage}@{model}" if model else stage: resolved(settings, stage, model)
        for stage in STAGES
        for model in (settings.models if stage in MODEL_STAGES else [None])
    }


def write(settings: Settings, folder: Path) -> None:
    """Write a file for each: <stage>.json, or <stage>/<model>.json."""
    for name, found in everything(settings).items():
        files.write_json(folder / f"{name.replace('@', '/')}.json", found)


def script(stage: str) -> Path:
    """A stage's script: the project's, else the one beside the package's source."""
    own = Path("stages") / f"{stage}.py"
    return own.resolve() if own.is_file() else PACKAGE.parents[1] / "stages" / f"{stage}.py"
