"""The comparison of models as a Markdown table, from metrics/<model>.json."""

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
# In the order of a pull request's reader.
AGGREGATES = ("overall", "relevance", "factuality")
NOTE = "Miniatures trained on drawn phantoms: these figures say nothing about the published models of these names."


def publish(settings: Settings) -> None:
    """Write metrics/: what each model's scores and the modality classifier's say, and what `dvc metrics` shows of it.

    UserError where a model has no scores.
    """
    sources = {layout.metrics(key): layout.scores(key) / layout.MEANS for key in settings.models}
    sources[layout.metrics("modality")] = layout.MODALITY / layout.MEANS
    results = {}
    for path, source in sources.items():
        if not source.exists():
            raise UserError(f"{source} not found; `dvc repro` makes it")
        results[path] = files.read_json(source)
        files.write_json(path, results[path])
    figures = overall({key: results[layout.metrics(key)] for key in settings.models})
    files.write_json(layout.METRICS / "overall.json", figures)
    # DVC sorts names within a file: the aggregates come first in a file of their own.
    for name, columns in (("aggregates", AGGREGATES), ("scores", METRICS)):
        shown = {key: {column: row[column] for column in columns if column in row} for key, row in figures.items()}
        files.write_json(layout.METRICS / f"{name}.json", shown)


def collect(settings: Settings) -> dict[str, dict[str, Any]]:
    """{model: its metrics file}, in the order of params.yaml. UserError where a model has none."""
    found = {}
    for key in settings.models:
        path = layout.metrics(key)
        if not path.exists():
            raise UserError(f"{path} not found; `dvc repro aggregate` makes it")
        found[key] = files.read_json(path)
    return found


def overall(results: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """metrics/overall.json: each fine-tuned model's figures, one row a model in `dvc metrics diff`."""
    return {key: {name: figures[name] for name in COLUMNS if name in figures} for key, figures in results.items()}


@dataclass(frozen=True)
class Sure:
    """How sure a model's figure is: under `heading`, and letters that models share which are not told apart."""

    heading: str
    cells: Mapping[str, tuple[str, str]]


def comparison(settings: Settings, results: Mapping[str, Mapping[str, Any]], sure: Sure) -> str:
    """A Markdown table of the fine-tuned models: a row per model, a column per metric that any has."""
    shown = _measured(results.values())
    header = ["Model", "Trained by", *(COLUMNS[name] for name in shown), sure.heading, "Alike", "n"]
    rows = [
        [
            *(key, settings.variant(key)),
            *(number(figures.get(name)) for name in shown),
            *(*sure.cells[key], str(figures["n"])),
        ]
        for key, figures in results.items()
    ]
    return markdown(header, rows, words=2)


def unscored(results: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A line for each metric that some model lacks, with the reason."""
    reasons = {name: why for figures in results.values() for name, why in figures.get("missing", {}).items()}
    return [f"{COLUMNS[name]} was not scored: {why}." for name, why in reasons.items()]


def _measured(results: Iterable[Mapping[str, Any]]) -> list[str]:
    found = list(results)
    return [name for name in COLUMNS if any(figures.get(name) is not None for figures in found)]


def number(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.3f}"
