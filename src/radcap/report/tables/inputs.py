"""What the tables are made from, read once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from radcap import files, layout
from radcap.errors import UserError
from radcap.report import published
from radcap.report.tables import comparison
from radcap.settings import Settings

# Parameters at full size from which on a model is a large one; the study's smallest large model has 7.1e9.
LARGE = 5e9
GROUPS = ("Large vision-language models", "Small vision-language models", "Baselines")


@dataclass(frozen=True)
class Inputs:
    """`metrics`: {model: metrics/<model>.json}. `audits`: {model: what trained}. `plan`: full-size counts. `prepared`:
    data/report.json. `classifier`: metrics/modality.json. `study`: the published tables, numbers with their digits."""

    settings: Settings
    metrics: Mapping[str, Mapping[str, Any]]
    audits: Mapping[str, Mapping[str, Any]]
    plan: Mapping[str, Any]
    prepared: Mapping[str, Any]
    classifier: Mapping[str, Any]
    study: Mapping[str, Any]

    @property
    def comparable(self) -> bool:
        """Whether models and images are of the study's kind; a miniature and a phantom share their names alone."""
        return self.settings.active.weights == "published" and self.settings.active.data.source != "phantoms"

    @property
    def models(self) -> list[str]:
        """In the order of the study's Table 4, others after them."""
        printed = list(self.study["table4_main"])
        order = {key: printed.index(key) if key in printed else len(printed) for key in self.metrics}
        return sorted(self.metrics, key=lambda key: (GROUPS.index(self.group(key)), order[key]))

    def group(self, key: str) -> str:
        """The group of the study's Table 4 that a model belongs to, by its tuning and its size at full size."""
        if self.settings.model(key).tuning == "full":
            return GROUPS[2]
        return GROUPS[0] if self.full_size(key) >= LARGE else GROUPS[1]

    def full_size(self, key: str) -> float:
        """Parameters at full size: counted, else as printed, else those of the model that was trained."""
        if key in self.plan["models"]:
            return float(self.plan["models"][key]["total"])
        printed = self.printed("table2_models", key, "params")
        return float(self.audits[key]["total"] if printed is None else printed)

    def printed(self, table: str, key: str, name: str) -> Decimal | None:
        """A published figure; None where the study has no such row or prints none."""
        value: Decimal | None = self.study[table].get(key, {}).get(name)
        return value


def read(settings: Settings, plan: Mapping[str, Any]) -> Inputs:
    """UserError where a file is missing."""
    report = layout.data_report()
    if not report.exists():
        raise UserError(f"{report} not found; `dvc repro prepare` makes it")
    return Inputs(
        settings,
        comparison.collect(settings),
        {key: _audit(key) for key in settings.models},
        plan,
        files.read_json(report),
        _classifier(),
        published.read(),
    )


def _classifier() -> dict[str, Any]:
    path = layout.METRICS / "modality.json"
    if not path.exists():
        raise UserError(f"{path} not found; `dvc repro modality` makes it")
    figures: dict[str, Any] = files.read_json(path)
    return figures


def _audit(key: str) -> dict[str, Any]:
    path = layout.scores(key) / "audit.json"
    if not path.exists():
        raise UserError(f"{path} not found; `dvc repro score@{key}` makes it")
    audit: dict[str, Any] = files.read_json(path)
    return audit
