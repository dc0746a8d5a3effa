"""Section 4 of the study: correlations of scores with size, scores by complexity of the reference and by modality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import scipy.stats

from radcap.metrics.protocols import PLACES
from radcap.report.markdown import markdown
from radcap.report.published import AGGREGATES, COLUMNS
from radcap.report.scores import Scores, known
from radcap.report.tables.comparison import COLUMNS as HEADINGS
from radcap.report.tables.comparison import number
from radcap.report.tables.inputs import Inputs

PREDICTORS = {"percent": "trained percent", "trained": "trained parameters", "params": "size"}
Rows = Sequence[Mapping[str, Any]]


def correlations(inputs: Inputs) -> list[dict[str, Any]]:
    """Rank correlations of each cause with each aggregate, over the LoRA models and over all; the study's beside them.

    Spearman's rho and Kendall's tau-b with scipy's two-sided p; None where a side is constant, or for under three
    models.
    """
    lora = [key for key in inputs.models if inputs.settings.model(key).tuning == "lora"]
    rows = []
    for over, keys in (("LoRA models", lora), ("all models", inputs.models)):
        for cause in PREDICTORS:
            for quality in AGGREGATES:
                measured = [(_cause(inputs, key, cause), inputs.metrics[key].get(quality)) for key in keys]
                printed = [_printed(inputs, key, cause, quality) for key in keys if key in inputs.study["table4_main"]]
                rows.append(
                    {
                        "over": over,
                        "cause": cause,
                        "quality": quality,
                        "measured": correlate(measured),
                        "published": correlate(printed),
                    }
                )
    return rows


def correlate(pairs: Sequence[tuple[float | None, float | None]]) -> dict[str, float | int | None]:
    """n, rho, its p, tau, its p of pairs that have both."""
    whole = [(cause, quality) for cause, quality in pairs if cause is not None and quality is not None]
    names = ("rho", "rho_p", "tau", "tau_p")
    sides = list(zip(*whole, strict=True))
    if len(whole) < 3 or any(len(set(side)) == 1 for side in sides):
        return {"n": len(whole), **dict.fromkeys(names)}
    rho, tau = scipy.stats.spearmanr(*sides), scipy.stats.kendalltau(*sides)
    figures = (rho.statistic, rho.pvalue, tau.statistic, tau.pvalue)
    return {"n": len(whole), **{name: round(float(value), PLACES) for name, value in zip(names, figures, strict=True)}}


def _cause(inputs: Inputs, key: str, cause: str) -> float:
    return float(inputs.audits[key][{"params": "total"}.get(cause, cause)])


def _printed(inputs: Inputs, key: str, cause: str, quality: str) -> tuple[float, float]:
    table = "table2_models" if cause == "params" else "table3_adapters"
    figures = dict(zip(COLUMNS, inputs.study["table4_main"][key], strict=True))
    return float(inputs.study[table][key][cause]), float(figures[quality])


def by_complexity(
    scores: Scores, concepts: Sequence[int], bins: Mapping[str, Sequence[int]]
) -> dict[str, list[dict[str, Any]]]:
    """{words, concepts: a row per bin}: its images, and every model's mean aggregates in it.

    `concepts`: how many curated ones each image has; `bins`: the upper ends, see settings.Bins.
    """
    sizes = {"words": scores.words, "concepts": concepts}
    return {name: by_group(scores, *binned(sizes[name], ends)) for name, ends in bins.items()}


def binned(sizes: Sequence[int], ends: Sequence[int]) -> tuple[list[str], list[str]]:
    """The bin's label of each size, and all labels in order: "0-11", "12-17", "18+"."""
    starts = [0, *(end + 1 for end in ends)]
    labels = [f"{start}-{end}" if start < end else f"{end}" for start, end in zip(starts, ends, strict=False)]
    labels.append(f"{starts[-1]}+")
    return [labels[int(np.searchsorted(ends, size))] for size in sizes], labels


def by_modality(scores: Scores, modalities: Sequence[str]) -> list[dict[str, Any]]:
    """A row per modality of the test split, the commonest first."""
    names = sorted(set(modalities), key=lambda name: (-list(modalities).count(name), name))
    return by_group(scores, modalities, names)


def by_group(scores: Scores, groups: Sequence[str], order: Sequence[str]) -> list[dict[str, Any]]:
    """Means of each group's captions: {group, n, models: {model: {aggregate: mean}}}; empty groups are told, too."""
    at = np.array(groups)
    shown = known(AGGREGATES, scores)
    rows = []
    for group in order:
        within = at == group
        models = {
            model: {
                name: round(float(scores.column(model, name)[within].mean()), PLACES) if within.any() else None
                for name in shown
            }
            for model in scores.models
        }
        rows.append({"group": group, "n": int(within.sum()), "models": models})
    return rows


def page(relations: Mapping[str, Any], *, comparable: bool) -> str:
    """Correlations, quality by complexity, quality by modality."""
    study = "the study's" if comparable else "the study's (not comparable)"
    parts = [
        "# Correlations and subgroups\n",
        "## Parameters\n",
        f"Rank correlations over models (p values: scipy.stats), beside {study}, from its Tables 2 to 4.\n",
        correlation_table(relations["correlations"]),
    ]
    for name, rows in relations["complexity"].items():
        parts += [f"## By {name} of the reference\n", group_table(rows, name), *_empty(rows)]
    parts += ["## By modality\n", group_table(relations["modality"], "modality")]
    return "\n".join(parts)


def correlation_table(rows: Rows) -> str:
    """One row per set of models, predictor and aggregate."""
    header = ["Models", "Predictor", "Score", "n", "rho", "p", "tau", "p", "study's n", "rho", "p", "tau", "p"]
    names = ("rho", "rho_p", "tau", "tau_p")
    lines = [
        [row["over"], PREDICTORS[row["cause"]], HEADINGS[row["quality"]]]
        + [
            text
            for side in ("measured", "published")
            for text in (str(row[side]["n"]), *(number(row[side][name]) for name in names))
        ]
        for row in rows
    ]
    return markdown(header, lines, words=3)


def group_table(rows: Rows, name: str) -> str:
    """A row per model and a column per group of images, for the last aggregate that was scored."""
    first = rows[0]["models"]
    shown = list(next(iter(first.values())))
    if not shown:
        return "No aggregate was scored.\n"
    column = shown[-1]
    header = [f"{HEADINGS[column]}, {name}", *(f"{row['group']} (n={row['n']})" for row in rows)]
    return markdown(header, [[model, *(number(row["models"][model][column]) for row in rows)] for model in first])


def _empty(rows: Rows) -> list[str]:
    empty = [row["group"] for row in rows if not row["n"]]
    return [f"No image of the test split falls into {', '.join(empty)}.\n"] if empty else []
