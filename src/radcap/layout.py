"""Where each stage reads and writes, relative to the workspace: derived once, here."""

import os
from pathlib import Path

SPLITS = ("train", "valid", "test")

METRICS = Path("metrics")
REPORTS = Path("reports")
SCORERS = Path("models/scorers")


def split(name: str) -> Path:
    """The Arrow file of train, valid, test, or general (the miniatures' pretraining examples)."""
    return Path("data") / f"{name}.arrow"


def base(model: str) -> Path:
    return Path("models/base") / model


def tuned(model: str) -> Path:
    return Path("models") / model


def captions(model: str) -> Path:
    return Path("captions") / model


def scores(model: str) -> Path:
    return Path("scores") / model


def metrics(model: str) -> Path:
    return METRICS / f"{model}.json"


def score_cache() -> Path:
    """What scoring keeps of references and images, for every model, experiment and `radcap score`."""
    return main_workspace() / "checkpoints" / "score"


def states(model: str) -> Path:
    """Where fine-tunes of a model keep states to go on from after a kill, each run in a folder of its own."""
    return main_workspace() / "checkpoints" / "finetune" / model


def main_workspace() -> Path:
    """The project's folder, also inside a queued experiment, which works in a temporary copy."""
    return Path(os.environ.get("DVC_ROOT", Path.cwd()))


def record(stage: str, model: str | None = None) -> Path:
    """The volatile record of a stage's last run (seconds, memory, host), which DVC does not hash."""
    return Path("runs") / (f"{stage}@{model}.json" if model else f"{stage}.json")
