"""Where each stage reads and writes, relative to the workspace: derived once, here."""

import os
from pathlib import Path

SPLITS = ("train", "valid", "test")

METRICS = Path("metrics")
# What a stage measured, within its own output; aggregate copies it into metrics/.
MEANS = "metrics.json"
REPORTS = Path("reports")
PLOTS = Path("plots")
SCORERS = Path("models/scorers")
MODALITY = Path("models/modality")
RESOLVED = Path("resolved")


def split(name: str) -> Path:
    """The Arrow file of train, valid, test, or general (the miniatures' pretraining examples)."""
    return Path("data") / f"{name}.arrow"


def prepared() -> Path:
    """What prepare counted."""
    return Path("data/report.json")


def articles() -> Path:
    """The source article of each image, where it is known."""
    return Path("data/articles.csv")


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


def tables() -> Path:
    """The study's tables from this workspace's results, a file of each form."""
    return REPORTS / "tables"


def score_cache() -> Path:
    """What scoring keeps of references and images, for every model, experiment and `radcap score`."""
    return main_workspace() / "checkpoints" / "score"


def generating(model: str) -> Path:
    """Captions of runs that have not ended, a folder each."""
    return main_workspace() / "checkpoints" / "generate" / model


def modalities(split: str) -> Path:
    """The predicted modality of every image of valid or test."""
    return Path("modality") / f"{split}.parquet"


def confusion() -> Path:
    """What `dvc plots` draws the modalities' confusion matrix from."""
    return Path("plots/modality.csv")


def states(model: str) -> Path:
    """Where fine-tunes of a model keep states to go on from after a kill, each run in a folder of its own."""
    return main_workspace() / "checkpoints" / "finetune" / model


def main_workspace() -> Path:
    """The project's folder, also inside a queued experiment, which works in a temporary copy."""
    return Path(os.environ.get("DVC_ROOT", Path.cwd()))


def record(stage: str, model: str | None = None) -> Path:
    """The volatile record of a stage's last run (seconds, memory, host), which DVC does not hash."""
    return Path("runs") / (f"{stage}@{model}.json" if model else f"{stage}.json")
