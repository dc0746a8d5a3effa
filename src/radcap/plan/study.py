"""The study's figures beside counted ones, and why they differ where they cannot agree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from radcap.errors import UserError

PUBLISHED = Path("reference/published.yaml")
NOTES = Path("reference/plan_notes.yaml")


@dataclass(frozen=True)
class Study:
    """Tables 2 and 3 of the study, and the notes on them, by model."""

    models: Mapping[str, Mapping[str, Any]]
    adapters: Mapping[str, Mapping[str, Any]]
    notes: Mapping[str, Mapping[str, str]]


def read_study(published: Path = PUBLISHED, notes: Path = NOTES) -> Study:
    """Read the reference files. UserError where one is missing."""
    from ruamel.yaml import YAML

    trees = []
    for path in (published, notes):
        if not path.exists():
            raise UserError(f"{path} not found; run from the project's root")
        trees.append(YAML(typ="safe").load(path.read_text(encoding="utf-8")))
    return Study(trees[0]["table2_models"], trees[0]["table3_adapters"], trees[1])


def compare_with_study(key: str, row: Mapping[str, Any], study: Study) -> dict[str, Any] | None:
    """The study's row of a model with what was counted; None for a model that the study has not.

    `percent_of_printed` is the printed count of trained parameters over the printed size; `percent_with_adapters` is
    the counted one over base and adapters together, as peft prints it.
    """
    if key not in study.models or key not in study.adapters:
        return None
    size, adapter = study.models[key]["params"], study.adapters[key]
    notes: dict[str, Any] = {
        "params": size,
        "params_difference_percent": 100 * (row["total"] / size - 1),
        "trained": adapter["trained"],
        "percent": adapter["percent"],
        "percent_of_printed": 100 * adapter["trained"] / size,
        "targets": adapter["targets"],
        "why": dict(study.notes.get(key, {})),
    }
    variant = row["variants"].get("published") or row["variants"].get("full")
    if variant:
        notes["trained_difference_percent"] = 100 * (variant["trained"] / adapter["trained"] - 1)
        if row["tuning"] == "lora":
            notes["percent_with_adapters"] = 100 * variant["trained"] / (row["total"] + variant["trained"])
    return notes
