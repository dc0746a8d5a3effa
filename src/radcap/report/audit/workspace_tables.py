"""The figures of this workspace in the form of the study's, for the same audit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from radcap import files, layout
from radcap.metrics.protocols import PLACES, PROTOCOLS
from radcap.report.published import COLUMNS, Figures, Printed, Share, count, rounded
from radcap.settings import Settings


def figures(settings: Settings) -> Figures | None:
    """metrics/<model>.json, the audits of what trained, and Table 5; None before anything was scored."""
    results = {key: files.read_json(layout.metrics(key)) for key in settings.models if layout.metrics(key).exists()}
    if not results:
        return None
    table5 = layout.tables() / "table5.json"
    rows = files.read_json(table5)["rows"] if table5.exists() else []
    prompted = {key: row(result["modality"]) for key, result in results.items() if "modality" in result}
    return Figures(
        source="metrics/*.json",
        main={key: row(result) for key, result in results.items()},
        prompted=prompted,
        changes={line["model"]: _changes(line) for line in rows if _is_change(line, prompted)},
        others={
            f"{key} {state}": row(part)
            for key, result in results.items()
            for state, part in result.items()
            if isinstance(part, dict) and "overall" in part and state != "modality"
        },
        shares=tuple(share for key in results for share in _share(key)),
        relevance=PROTOCOLS[settings.score.protocol].relevance,
    )


def row(result: Mapping[str, Any]) -> dict[str, Printed]:
    """One variant's figures; what was not scored is absent."""
    return {name: rounded(result[name], PLACES) for name in COLUMNS if result.get(name) is not None}


def _is_change(line: Mapping[str, Any], prompted: Mapping[str, Any]) -> bool:
    return line["prompt"] == "change %" and line["model"] in prompted


def _changes(line: Mapping[str, Any]) -> dict[str, Printed]:
    """A row of reports/tables/table5.json."""
    changes = {name: line[name]["measured"] for name in COLUMNS}
    return {name: rounded(value, 1) for name, value in changes.items() if value is not None}


def _share(key: str) -> list[Share]:
    path = layout.fine_tuned(key) / "audit.json"
    if not path.exists():
        return []
    audit = files.read_json(path)
    return [Share("table 3", key, count(audit["trained"]), count(audit["total"]), rounded(audit["percent"], PLACES))]
