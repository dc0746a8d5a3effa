"""Tables 4 and 5: the main comparison, and the effect of modality-aware prompting."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from radcap.report.published import COLUMNS
from radcap.report.tables.comparison import COLUMNS as HEADINGS
from radcap.report.tables.inputs import Inputs
from radcap.report.tables.table import Column, Figure, Line, Table, figure

MODALITY = "modality"
SCORES = tuple(Column(name, HEADINGS[name]) for name in COLUMNS)
N = Column("n", "n", 0, ("measured",))


def main(inputs: Inputs) -> Table:
    """Table 4: every fine-tuned model under the run's protocol."""
    printed = inputs.study["table4_main"]
    lines = [
        Line((key,), _scores(inputs, inputs.metrics[key], printed.get(key)), inputs.group(key)) for key in inputs.models
    ]
    return Table(
        name="table4",
        title="Table 4. Quality of the captions of the test split",
        heads={"model": "Model"},
        columns=(*SCORES, N),
        lines=tuple(lines),
        comparable=inputs.comparable,
        stacked=True,
        notes=(f"Protocol: {inputs.settings.score.protocol}. The study's protocol is as-described.",),
    )


def prompting(inputs: Inputs) -> Table:
    """Table 5: models prompted with and without the modality, and the change in percent. Others have no row."""
    lines = []
    for key in inputs.models:
        plain, modality = inputs.metrics[key], inputs.metrics[key].get(MODALITY)
        if not modality:
            continue
        printed = inputs.study["table5_modality_prompting"].get(key, {})
        main_row = inputs.study["table4_main"].get(key) if printed else None
        change = {
            name: figure(
                change_percent(plain.get(name), modality.get(name)), value, comparable=inputs.comparable, places=1
            )
            for name, value in _by_name(printed.get("change_percent")).items()
        }
        lines += [
            Line((key, "plain"), _scores(inputs, plain, main_row)),
            Line((key, MODALITY), _scores(inputs, modality, printed.get(MODALITY))),
            Line((key, "change %"), change),
        ]
    none = "No model of this run was prompted with the modality."
    return Table(
        name="table5",
        title="Table 5. Modality-aware prompting, and its change in percent",
        heads={"model": "Model", "prompt": "Prompt"},
        columns=(*SCORES, N),
        lines=tuple(lines),
        comparable=inputs.comparable,
        stacked=True,
        notes=() if lines else (none,),
    )


def change_percent(base: float | None, new: float | None) -> float | None:
    """100 * (new - base) / base to one decimal; None if the base is not positive."""
    if base is None or new is None or base <= 0:
        return None
    return round(100 * (new - base) / base, 1)


def _scores(inputs: Inputs, result: Mapping[str, Any], printed: list[Decimal] | None) -> dict[str, Figure]:
    figures = {
        name: figure(result.get(name), value, comparable=inputs.comparable) for name, value in _by_name(printed).items()
    }
    return figures | {"n": Figure(result["n"])}


def _by_name(printed: list[Decimal] | None) -> dict[str, Decimal | None]:
    return dict.fromkeys(COLUMNS) if printed is None else dict(zip(COLUMNS, printed, strict=True))
