"""Experiments beside each other as plain data: parameters that differ, figures, paired tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import combinations
from typing import Any

from radcap.data import articles
from radcap.report import scores
from radcap.report.compare.read import Experiment
from radcap.report.published import COLUMNS
from radcap.report.statistics.analysis import Analysis
from radcap.report.statistics.significance import rounded
from radcap.settings import Report

ABSENT = "(absent)"


def compare(experiments: Sequence[Experiment], report: Report, *, protocol: str, seed: int) -> dict[str, Any]:
    """Everything about the experiments, as JSON holds it. Tests are on the plain captions under `protocol`."""
    differences, remarks = tests(experiments, report, protocol=protocol, seed=seed)
    return {
        "experiments": {experiment.name: experiment.rev for experiment in experiments},
        "protocol": protocol,
        "parameters": parameters(experiments),
        "models": figures(experiments),
        "tests": differences,
        "alpha": report.alpha,
        "remarks": remarks,
    }


def parameters(experiments: Sequence[Experiment]) -> dict[str, dict[str, Any]]:
    """{dotted key: {experiment: value}} of keys that are not alike in all.

    Of models that only some experiments have, the list `models` tells.
    """
    listed = [list(experiment.params.get("models", {})) for experiment in experiments]
    shared = set(listed[0]).intersection(*listed)
    flat = {
        experiment.name: dict(
            _flat({**experiment.params, "models": {key: experiment.params["models"][key] for key in shared}})
        )
        | {"models": keys}
        for experiment, keys in zip(experiments, listed, strict=True)
    }
    keys = dict.fromkeys(key for values in flat.values() for key in values)
    rows = {key: {name: values.get(key, ABSENT) for name, values in flat.items()} for key in keys}
    return {key: row for key, row in rows.items() if any(value != row[experiments[0].name] for value in row.values())}


def _flat(tree: Any, prefix: str = "") -> list[tuple[str, Any]]:
    if not isinstance(tree, Mapping):
        return [(prefix, tree)]
    return [pair for name, value in tree.items() for pair in _flat(value, f"{prefix}.{name}" if prefix else name)]


def figures(experiments: Sequence[Experiment]) -> list[dict[str, Any]]:
    """A row per model and experiment: what trained, scores, cost; None for what is not known."""
    rows = []
    for model in dict.fromkeys(key for experiment in experiments for key in experiment.metrics):
        for experiment in experiments:
            if model not in experiment.metrics:
                continue
            audit, cost = experiment.audits.get(model, {}), experiment.costs.get(model, {})
            rows.append(
                {
                    "model": model,
                    "experiment": experiment.name,
                    **{name: audit.get(name) for name in ("variant", "trained", "percent")},
                    **{name: experiment.metrics[model].get(name) for name in COLUMNS},
                    **{name: cost.get(name) for name in ("seconds", "peak_memory_mib")},
                }
            )
    return rows


def tests(
    experiments: Sequence[Experiment], report: Report, *, protocol: str, seed: int
) -> tuple[list[dict[str, Any]], list[str]]:
    """Paired tests of every two experiments, model by model, one family; and what could not be tested, with why.

    Models whose captions score alike in all experiments are no part of the family.
    """
    remarks = [
        f"{experiment.name}: {what} of {', '.join(lost)} not in DVC's cache"
        for experiment in experiments
        for what, there in (("audits", experiment.audits), ("per-caption scores", experiment.tables))
        if (lost := [key for key in experiment.metrics if key not in there])
    ]
    tables = {(key, experiment.name): scored for experiment in experiments for key, scored in experiment.tables.items()}
    if not tables:
        return [], remarks
    ids = next(iter(tables.values()))["id"]
    other = sorted({name for (_, name), scored in tables.items() if not scored["id"].equals(ids)})
    remarks += [f"{name}: other test images, so that captions cannot be paired" for name in other]
    tables = {key: scored for key, scored in tables.items() if key[1] not in other}
    alike = [model for model in dict.fromkeys(model for model, _ in tables) if _same(tables, model)]
    if alike:
        remarks.append(f"the same scores in all experiments that have them: {', '.join(alike)}")
    tables = {key: scored for key, scored in tables.items() if key[0] not in alike}
    if not tables:
        return [], remarks
    clusters = articles.by_image(experiments[0].articles, ids.to_pylist())
    if clusters:
        remarks.append(f"resampled by source article: {len(set(clusters) - {None, ''}):,} are known")
    return _differences(tables, report, clusters, protocol=protocol, seed=seed), remarks


def _same(tables: Mapping[tuple[str, str], Any], model: str) -> bool:
    scores_of_model = [scored for (key, _), scored in tables.items() if key == model]
    return all(scored.equals(scores_of_model[0]) for scored in scores_of_model)


def _differences(
    tables: Mapping[tuple[str, str], Any],
    report: Report,
    clusters: Sequence[str | None] | None,
    *,
    protocol: str,
    seed: int,
) -> list[dict[str, Any]]:
    whole = scores.beside(tables, protocol)
    analysis = Analysis(
        {_name(*key): values for key, values in whole.values.items()},
        whole.columns,
        clusters=clusters,
        resamples=report.resamples,
        confidence=report.confidence,
        seed=seed,
    )
    keys = [
        pair
        for model in whole.models
        for pair in combinations([key for key in whole.values if key[0] == model], 2)
        if not tables[pair[0]].equals(tables[pair[1]])
    ]
    # The later experiment minus the earlier one: a gain is positive.
    differences = analysis.differences([(_name(*second), _name(*first)) for first, second in keys])
    rows = []
    for (first, second), chunk in zip(keys, _chunks(differences, len(whole.columns)), strict=True):
        for difference in chunk:
            row = rounded(asdict(difference)) | {"first": second[1], "second": first[1]}
            rows.append({"model": first[0], **row, "significant": difference.p_holm < report.alpha})
    return rows


def _chunks(items: Sequence[Any], size: int) -> list[Sequence[Any]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def _name(model: str, experiment: str) -> str:
    return f"{model} {experiment}"
