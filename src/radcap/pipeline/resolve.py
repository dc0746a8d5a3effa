"""resolved/: a file per stage and model with all that its result depends on besides its data."""

from __future__ import annotations

import hashlib
import json
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


def fingerprint(settings: Settings, stage: str, model: str) -> str:
    """SHA-256 (first 16 digits) of a stage's resolved parameters and code."""
    text = json.dumps(resolved(settings, stage, model), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def write(settings: Settings, folder: Path) -> None:
    """Write <stage>.json, or <stage>/<model>.json where a stage runs once per model, for all stages."""
    for stage in STAGES:
        if stage not in MODEL_STAGES:
            files.write_json(folder / f"{stage}.json", resolved(settings, stage))
            continue
        for model in settings.models:
            files.write_json(folder / stage / f"{model}.json", resolved(settings, stage, model))


def script(stage: str) -> Path:
    """A stage's script: the project's, else the one beside the package's source."""
    own = Path("stages") / f"{stage}.py"
    return own.resolve() if own.is_file() else PACKAGE.parents[1] / "stages" / f"{stage}.py"
