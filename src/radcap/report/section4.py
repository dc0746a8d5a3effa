"""reports/relations.md: Section 4 of the study from this workspace's results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from radcap.report.markdown import markdown
from radcap.report.relations import CAUSES
from radcap.report.tables import COLUMNS, number

Rows = Sequence[Mapping[str, Any]]


def page(relations: Mapping[str, Any], *, comparable: bool) -> str:
    """Correlations, quality by complexity, quality by modality."""
    study = "the study's" if comparable else "the study's (not comparable)"
    parts = [
        "# What quality goes with\n",
        "## Parameters\n",
        f"Rank correlations over models, with p of scipy.stats; beside them {study}, of its Tables 2 to 4.\n",
        correlations(relations["correlations"]),
    ]
    for name, rows in relations["complexity"].items():
        parts += [f"## By {name} of the reference\n", groups(rows, name), *_empty(rows)]
    parts += ["## By modality\n", groups(relations["modality"], "modality")]
    return "\n".join(parts)


def correlations(rows: Rows) -> str:
    """One line per set of models, cause and aggregate."""
    header = ["Over", "Cause", "Quality", "n", "rho", "p", "tau", "p", "study's n", "rho", "p", "tau", "p"]
    names = ("rho", "rho_p", "tau", "tau_p")
    lines = [
        [row["over"], CAUSES[row["cause"]], COLUMNS[row["quality"]]]
        + [
            text
            for side in ("measured", "published")
            for text in (str(row[side]["n"]), *(number(row[side][name]) for name in names))
        ]
        for row in rows
    ]
    return markdown(header, lines, words=3)


def groups(rows: Rows, name: str) -> str:
    """A line per model, a column per group with its images; the last aggregate that was scored."""
    first = rows[0]["models"]
    shown = list(next(iter(first.values())))
    if not shown:
        return "No aggregate was scored.\n"
    column = shown[-1]
    header = [f"{COLUMNS[column]}, {name}", *(f"{row['group']} (n={row['n']})" for row in rows)]
    return markdown(header, [[model, *(number(row["models"][model][column]) for row in rows)] for model in first])


def _empty(rows: Rows) -> list[str]:
    empty = [row["group"] for row in rows if not row["n"]]
    return [f"No image of the test split has {', '.join(empty)}.\n"] if empty else []
