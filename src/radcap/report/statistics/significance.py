"""Significance of differences between models, between prompts, and from both baselines. Each is a family of tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

from radcap.metrics.protocols import PLACES
from radcap.report.scores import PLAIN, Scores
from radcap.report.statistics.analysis import Analysis, Difference, Estimate
from radcap.report.statistics.correction import letters
from radcap.settings import Report

BASELINES = ("base", "shuffled")
# A p value from 10,000 resamples has four digits.
P_PLACES = 5


@dataclass(frozen=True)
class Findings:
    """`estimates`: {(model, variant): {column: mean with interval}}. `families`: {family: its differences}, systems
    named as "model variant". `captions` in `clusters`, the units that were resampled."""

    estimates: Mapping[tuple[str, str], Mapping[str, Estimate]]
    families: Mapping[str, Sequence[Difference]]
    captions: int
    clusters: int
    settings: Report

    @property
    def columns(self) -> list[str]:
        return list(next(iter(self.estimates.values())))

    def of(self, family: str, column: str) -> list[Difference]:
        """The differences of a family in one column."""
        return [difference for difference in self.families[family] if difference.column == column]

    def significant(self, difference: Difference) -> bool:
        return difference.p_holm < self.settings.alpha

    def letters(self, column: str) -> dict[str, str]:
        """{model: letters}, best model first. Models that share a letter do not differ significantly in the column."""
        means = {model: found[column].mean for (model, variant), found in self.estimates.items() if variant == PLAIN}
        ranked = sorted(means, key=lambda model: -means[model])
        pairs = [
            (model_of(found.first), model_of(found.second))
            for found in self.of("models", column)
            if self.significant(found)
        ]
        return letters(ranked, pairs)


def analyse(scores: Scores, settings: Report, *, seed: int, clusters: Sequence[str | None] | None = None) -> Findings:
    """Intervals of all means; tests between all models, between prompts, and against both baselines."""
    systems = {name(*key): values for key, values in scores.values.items()}
    analysis = Analysis(
        systems,
        scores.columns,
        clusters=clusters,
        resamples=settings.resamples,
        confidence=settings.confidence,
        seed=seed,
    )
    estimates = analysis.estimates()
    return Findings(
        {key: estimates[name(*key)] for key in scores.values},
        {family: analysis.differences(found) for family, found in _families(scores).items()},
        len(scores.ids),
        len(analysis.sums),
        settings,
    )


def _families(scores: Scores) -> dict[str, list[tuple[str, str]]]:
    """The pairs to compare. Every variant that is not a baseline is a prompt, and is compared with the plain one."""
    plain = {model: name(model, PLAIN) for model in scores.models}
    families: dict[str, list[tuple[str, str]]] = {"models": list(combinations(plain.values(), 2)), "prompts": []}
    families |= {f"against {baseline}": [] for baseline in BASELINES}
    for model, variant in scores.values:
        other = name(model, variant)
        if variant in BASELINES:
            families[f"against {variant}"].append((plain[model], other))
        elif variant != PLAIN:
            families["prompts"].append((other, plain[model]))
    return families


def name(model: str, variant: str) -> str:
    return f"{model} {variant}"


def model_of(system: str) -> str:
    return system.split(" ")[0]


def as_json(findings: Findings) -> dict[str, Any]:
    """reports/statistics.json: everything, rounded."""
    return {
        "captions": findings.captions,
        "clusters": findings.clusters,
        **findings.settings.model_dump(mode="json", include={"resamples", "confidence", "alpha"}),
        "intervals": "bootstrap, bias-corrected and accelerated",
        "tests": "paired sign-flip permutations, two-sided; p_holm within a family and column",
        "effect": "Cohen's dz",
        "estimates": [
            {"model": model, "variant": variant, "column": column, **rounded(asdict(estimate))}
            for (model, variant), columns in findings.estimates.items()
            for column, estimate in columns.items()
        ],
        "letters": {column: findings.letters(column) for column in findings.columns},
        "families": {
            family: [rounded(asdict(difference)) for difference in differences]
            for family, differences in findings.families.items()
        },
    }


def rounded(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Round floats as in all result files."""
    return {
        key: round(value, P_PLACES if key.startswith("p") else PLACES) if isinstance(value, float) else value
        for key, value in figures.items()
    }
