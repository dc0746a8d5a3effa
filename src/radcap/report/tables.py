"""The sample's comparison of models as a Markdown table, from metrics/<model>.json."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from radcap import files, layout
from radcap.errors import UserError
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
NOTE = (
    "Miniatures trained on drawn phantoms: these figures say nothing about the published models of these names. "
    "base: before fine-tuning."
)


def collect(settings: Settings) -> dict[str, dict[str, Any]]:
    """{model: its metrics file}, in the order of params.yaml. UserError where a model has none."""
    found = {}
    for key in settings.models:
        path = layout.metrics(key)
        if not path.exists():
            raise UserError(f"{path} not found; is metrics/{key}.json among aggregate's deps in dvc.yaml?")
        found[key] = files.read_json(path)
    return found


def overall(results: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """metrics/overall.json: each fine-tuned model's figures, one row a model in `dvc metrics diff`."""
    return {key: {name: figures[name] for name in COLUMNS if name in figures} for key, figures in results.items()}


def comparison(settings: Settings, results: Mapping[str, Mapping[str, Any]]) -> str:
    """A Markdown table: a row per model before (base) and after fine-tuning, a column per metric that any has."""
    states = []
    for key, figures in results.items():
        if "base" in figures:
            states.append((f"{key}, base", figures["base"]))
        states.append((f"{key}, {settings.variant(key)}", figures))
    shown = [name for name in COLUMNS if any(figures.get(name) is not None for _, figures in states)]
    header = ["Model", *(COLUMNS[name] for name in shown), "n"]
    return markdown(
        header, [[label, *(_figure(fig.get(name)) for name in shown), str(fig["n"])] for label, fig in states]
    )


def markdown(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table, first column left, the others right."""
    head = list(header)
    lines = [head, ["---", *("---:" for _ in head[1:])], *rows]
    return "".join("| " + " | ".join(cells) + " |\n" for cells in lines)


def summary(settings: Settings, results: Mapping[str, Mapping[str, Any]]) -> str:
    """reports/summary.md: what ran, under which protocol, and the comparison."""
    note = NOTE if settings.active.weights == "miniature" else "base: before fine-tuning."
    lines = [
        "# Results",
        "",
        f"Profile {settings.profile}, source {settings.active.data.source}, protocol {settings.score.protocol}, "
        f"LoRA strategy {settings.lora.strategy}, seed {settings.seed}.",
        "",
        comparison(settings, results).rstrip(),
        "",
        note,
    ]
    return "\n".join(lines) + "\n"


def _figure(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.3f}"
