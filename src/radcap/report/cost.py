"""What each model took beside what it is worth; volatile, so it is shown and never part of a hashed result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from radcap import files, layout
from radcap.report.markdown import markdown
from radcap.report.tables.comparison import COLUMNS, number
from radcap.report.tables.correlations import correlate

STAGES = ("base", "finetune", "generate", "score")


def records(models: Mapping[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    """{(model, stage): its record in runs/}, of those that ran in this workspace."""
    paths = {(key, stage): layout.run_record(stage, key) for key in models for stage in STAGES}
    return {key: files.read_json(path) for key, path in paths.items() if path.exists()}


def page(metrics: Mapping[str, Mapping[str, Any]], runs: Mapping[tuple[str, str], Mapping[str, Any]]) -> str:
    """Seconds of each stage and peak memory of the fine-tune (on the GPU where there is one), beside overall.

    The last lines are rank correlations of both with it. A stage that ran elsewhere, or came from the cache, is n/a.
    """
    quality = next((name for name in ("overall", "relevance") if _known(metrics, name)), "rouge1")
    rows = []
    for key, figures in metrics.items():
        seconds = [runs.get((key, stage), {}).get("seconds") for stage in STAGES]
        rows.append([key, *map(_whole, seconds), _whole(_memory(runs, key)), number(figures.get(quality))])
    header = ["Model", *(f"{stage}, s" for stage in STAGES), "finetune, MiB", COLUMNS[quality]]
    parts = [markdown(header, rows)]
    for label, cause in (
        ("seconds", lambda key: runs.get((key, "finetune"), {}).get("seconds")),
        ("memory", lambda key: _memory(runs, key)),
    ):
        pairs = [(cause(key), figures.get(quality)) for key, figures in metrics.items()]
        correlation = correlate(pairs)
        parts.append(
            f"{COLUMNS[quality]} and {label} of the fine-tune, {correlation['n']} models: "
            f"rho {number(correlation['rho'])} (p {number(correlation['rho_p'])}), tau {number(correlation['tau'])} "
            f"(p {number(correlation['tau_p'])})\n"
        )
    hosts = sorted({f"{run['host']} ({run['device']})" for run in runs.values()})
    return "\n".join([*parts, f"Ran on: {', '.join(hosts) or 'nothing yet'}. Side by side, stages slow each other.\n"])


def _known(metrics: Mapping[str, Mapping[str, Any]], name: str) -> bool:
    return any(figures.get(name) is not None for figures in metrics.values())


def _memory(runs: Mapping[tuple[str, str], Mapping[str, Any]], key: str) -> float | None:
    run = runs.get((key, "finetune"), {})
    return run.get("device_peak_memory_mib") or run.get("peak_memory_mib")


def _whole(value: float | None) -> str:
    return "n/a" if value is None else f"{value:,.0f}"
