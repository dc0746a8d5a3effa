"""Experiments side by side, from what DVC would have kept of them."""

import dataclasses
import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from radcap.metrics.protocols import METRICS
from radcap.report.compare import compare, render
from radcap.report.compare.read import BASELINE, Experiment
from tests.models_for_tests import PARAMS

REPORT = PARAMS.report.model_copy(update={"resamples": 500})
IDS = [f"IMG_{n}" for n in range(40)]
METRIC = {"rouge1": 0.2, "overall": 0.3, "n": 40}


def scored(gain: float, *, seed: int = 0, ids: list[str] = IDS) -> pa.Table:
    """Scores of captions that share what is hard about an image, `gain` above it."""
    hard = np.random.default_rng(9).uniform(0.1, 0.5, len(ids))
    noise = np.random.default_rng(seed).normal(0, 0.02, (len(METRICS), len(ids)))
    columns = {f"as-described/{name}": hard + gain + noise[at] for at, name in enumerate(METRICS)}
    return pa.table({"id": ids, "reference_tokens": [5] * len(ids), **columns})


def experiment(name: str, *, params: dict[str, Any], tables: dict[str, pa.Table], **options: Any) -> Experiment:
    metrics = options.pop("metrics", dict.fromkeys(tables, METRIC))
    audits = {key: {"variant": name, "trained": 1234, "percent": 5.25} for key in metrics}
    return Experiment(
        name, name * 10, params, metrics, audits, tables, options.pop("costs", {}), options.pop("articles", {})
    )


def params(strategy: str, *models: str) -> dict[str, Any]:
    return {"seed": 1, "lora": {"strategy": strategy, "r": 4}, "models": {key: {"family": key} for key in models}}


def compared(*found: Experiment) -> dict[str, Any]:
    return compare.compare(found, REPORT, protocol="as-described", seed=3)


BASE = experiment(BASELINE, params=params("published", "a", "b"), tables={"a": scored(0), "b": scored(0)})
BETTER = experiment(
    "better",
    params=params("hybrid", "a", "b"),
    tables={"a": scored(0.1, seed=1), "b": scored(0)},
    costs={"a": {"seconds": 61.25, "peak_memory_mib": 900}},
)


def test_parameters_that_differ_are_told_and_no_other() -> None:
    assert compared(BASE, BETTER)["parameters"] == {"lora.strategy": {BASELINE: "published", "better": "hybrid"}}


def test_models_that_one_lacks_are_told_by_the_list() -> None:
    less = experiment("less", params=params("published", "a"), tables={"a": scored(0)})
    assert compared(BASE, less)["parameters"] == {"models": {BASELINE: ["a", "b"], "less": ["a"]}}
    assert [(row["model"], row["experiment"]) for row in compared(BASE, less)["models"]] == [
        ("a", BASELINE),
        ("a", "less"),
        ("b", BASELINE),
    ]


def test_a_better_experiment_is_found_better_and_an_equal_model_is_not_tested() -> None:
    told = compared(BASE, BETTER)
    overall = [row for row in told["tests"] if row["column"] == "overall"]
    assert [(row["model"], row["first"], row["second"], row["significant"]) for row in overall] == [
        ("a", "better", BASELINE, True)
    ]
    assert overall[0]["difference"] == pytest.approx(0.1, abs=0.01)
    assert overall[0]["low"] < 0.1 < overall[0]["high"]
    assert told["remarks"] == ["the same scores in all experiments that have them: b"]


def test_all_pairs_of_experiments_are_one_family() -> None:
    third = experiment("third", params=params("targeted", "a"), tables={"a": scored(0.001, seed=2)})
    rows = [row for row in compared(BASE, BETTER, third)["tests"] if row["column"] == "overall"]
    assert [(row["first"], row["second"]) for row in rows] == [
        ("better", BASELINE),
        ("third", BASELINE),
        ("third", "better"),
    ]
    assert [row["significant"] for row in rows] == [True, False, True]
    # Three tests: the smallest of p = 1 / 501 counts thrice.
    assert rows[0]["p_holm"] == pytest.approx(3 / 501, abs=1e-5)


def test_what_cannot_be_compared_is_told() -> None:
    gone = experiment("gone", params=params("hybrid", "a"), tables={}, metrics={"a": METRIC})
    other = experiment("other", params=params("hybrid", "a"), tables={"a": scored(0, ids=[f"X{n}" for n in range(40)])})
    told = compared(BASE, gone, other)
    assert told["tests"] == []
    assert told["remarks"] == [
        "gone: per-caption scores of a not in DVC's cache",
        "other: other test images, so that captions cannot be paired",
        "the same scores in all experiments that have them: a, b",
    ]
    nothing = compared(gone)
    assert (nothing["tests"], nothing["parameters"]) == ([], {})


def test_captions_of_an_article_are_resampled_together() -> None:
    """Five articles have 32 sign patterns, all of which are tried: no p is below 2 / 32."""
    known = {id_: f"PMC{n // 8}" for n, id_ in enumerate(IDS)}
    base = dataclasses.replace(BASE, articles=known)
    told = compared(base, BETTER)
    assert told["remarks"][-1] == "resampled by source article: 5 are known"
    assert {row["p"] for row in told["tests"]} == {2 / 32}


def test_the_same_comparison_as_text_markdown_and_json() -> None:
    told = compared(BASE, BETTER)
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    text, page = render.text(told), render.as_markdown(told)
    assert "lora.strategy  published  hybrid\n" in text
    assert "| lora.strategy | published | hybrid |\n" in page
    assert "| a | better | better | 1,234 | 5.25 | 0.200 | 0.300 | 61.2 | 900 |\n" in page
    assert "| a | baseline | baseline | 1,234 | 5.25 | 0.200 | 0.300 | n/a | n/a |\n" in page
    assert "| a | better - baseline | Overall | +0." in page
    assert "- the same scores in all experiments that have them: b\n" in page
    assert all(line == line.rstrip() for line in text.splitlines())


def test_nothing_differs() -> None:
    page = render.as_markdown(compared(BASE))
    assert "## Parameters that differ\n\nNone.\n" in page
    assert "Nothing to test.\n" in page
