"""The paths that stages read and write, relative to the workspace."""

import os
from pathlib import Path

SPLITS = ("train", "valid", "test")

METRICS = Path("metrics")
# The metrics file within the output of a stage. `aggregate` copies it into metrics/.
STAGE_METRICS = "metrics.json"
REPORTS = Path("reports")
PLOTS = Path("plots")
SCORERS = Path("models/scorers")
MODALITY = Path("models/modality")
RESOLVED = Path("resolved")


def split(name: str) -> Path:
    """The Arrow file of train, valid, test, or general (the miniatures' pretraining examples)."""
    return Path("data") / f"{name}.arrow"


def data_report() -> Path:
    """Counts of the prepared rows and of those refused."""
    return Path("data/report.json")


def articles() -> Path:
    """The source article of each image, if it is known."""
    return Path("data/articles.csv")


def base(model: str) -> Path:
    return Path("models/base") / model


def fine_tuned(model: str) -> Path:
    return Path("models") / model


def captions(model: str) -> Path:
    return Path("captions") / model


def scores(model: str) -> Path:
    return Path("scores") / model


def metrics(model: str) -> Path:
    return METRICS / f"{model}.json"


def tables() -> Path:
    """The study's tables with the results of this workspace, in several formats."""
    return REPORTS / "tables"


def score_cache() -> Path:
    """The cache of computed references and images, shared by all models, experiments and `radcap score`."""
    return main_workspace() / "checkpoints" / "score"


def unfinished_captions(model: str) -> Path:
    """Captions of unfinished runs, one folder per run."""
    return main_workspace() / "checkpoints" / "generate" / model


def predicted_modalities(split: str) -> Path:
    """The predicted modality of every image of valid or test."""
    return Path("modality") / f"{split}.parquet"


def confusion_plot() -> Path:
    """The data of the confusion matrix of modalities, for `dvc plots`."""
    return Path("plots/modality.csv")


def training_checkpoints(model: str) -> Path:
    """Checkpoints from which interrupted fine-tunes of a model resume, one folder per run."""
    return main_workspace() / "checkpoints" / "finetune" / model


def main_workspace() -> Path:
    """The project's folder. A queued experiment works in a temporary copy of it."""
    return Path(os.environ.get("DVC_ROOT", Path.cwd()))


def run_record(stage: str, model: str | None = None) -> Path:
    """The record of a stage's last run (seconds, memory, host). It is not part of any result."""
    return Path("runs") / (f"{stage}@{model}.json" if model else f"{stage}.json")
