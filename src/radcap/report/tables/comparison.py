"""metrics/, and the table that compares the models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from radcap import files, layout
from radcap.errors import UserError
from radcap.metrics.protocols import METRICS
from radcap.report.markdown import markdown
from radcap.settings import Settings

COLUMNS = {
    "similarity": "Similarity",
    "bertscore": "BERTScore",
    "rouge1": "ROUGE-1",
    "bleurt": "BLEURT",
    "umls_f1": "UMLS F1",
    "alignscore": "AlignScore",
    "relevance": "Relevance",
    "factuality": "Factuality",
    "overall": "Overall",
}
# The most important one first.
AGGREGATES = ("overall", "relevance", "factuality")
NOTE = (
    "These are miniatures trained on drawn phantoms. "
    "Their scores say nothing about the published models with these names."
)


def publish(settings: Settings) -> None:
    """Write metrics/: the scores of each model and of the modality classifier, and the files that `dvc metrics` shows.

    UserError if a model has no scores.
    """
    sources = {layout.metrics(key): layout.scores(key) / layout.STAGE_METRICS for key in settings.models}
    sources[layout.metrics("modality")] = layout.MODALITY / layout.STAGE_METRICS
    results = {}
    for path, source in sources.items():
        if not source.exists():
            raise UserError(f"{source} not found; run `dvc repro`")
        results[path] = files.read_json(source)
        files.write_json(path, results[path])
    figures = overall({key: results[layout.metrics(key)] for key in settings.models})
    files.write_json(layout.METRICS / "overall.json", figures)
    # DVC sorts the names within a file, but shows files in any order. "aggregates" comes before "metrics".
    summary = {
        name: {key: {column: row[column] for column in columns if column in row} for key, row in figures.items()}
        for name, columns in (("aggregates", AGGREGATES), ("metrics", METRICS))
    }
    files.write_json(layout.METRICS / "summary.json", summary)


def collect(settings: Settings) -> dict[str, dict[str, Any]]:
    """{model: content of its metrics file}, in the order of params.yaml. UserError if a model has none."""
    results = {}
    for key in settings.models:
        path = layout.metrics(key)
        if not path.exists():
            raise UserError(f"{path} not found; run `dvc repro aggregate`")
        results[key] = files.read_json(path)
    return results


def overall(results: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The content of metrics/overall.json: the scores of each fine-tuned model."""
    return {key: {name: figures[name] for name in COLUMNS if name in figures} for key, figures in results.items()}


@dataclass(frozen=True)
class Uncertainty:
    """{model: (confidence interval, letters)}. Models that share a letter do not differ significantly."""

    heading: str
    cells: Mapping[str, tuple[str, str]]


def comparison(settings: Settings, results: Mapping[str, Mapping[str, Any]], uncertainty: Uncertainty) -> str:
    """A Markdown table with a row per fine-tuned model and a column per metric that at least one of them has."""
    shown = _measured(results.values())
    header = ["Model", "Trained by", *(COLUMNS[name] for name in shown), uncertainty.heading, "Group", "n"]
    rows = [
        [
            *(key, settings.variant(key)),
            *(number(figures.get(name)) for name in shown),
            *(*uncertainty.cells[key], str(figures["n"])),
        ]
        for key, figures in results.items()
    ]
    return markdown(header, rows, words=2)


def unscored(results: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A line for each metric that was not scored for some model, with the reason."""
    reasons = {name: why for figures in results.values() for name, why in figures.get("missing", {}).items()}
    return [f"{COLUMNS[name]} was not scored: {why}." for name, why in reasons.items()]


def _measured(results: Iterable[Mapping[str, Any]]) -> list[str]:
    rows = list(results)
    return [name for name in COLUMNS if any(figures.get(name) is not None for figures in rows)]


def number(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.3f}"
