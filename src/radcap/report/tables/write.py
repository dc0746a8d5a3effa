"""reports/tables/: a file of each form for each table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from radcap import files
from radcap.report.scores import Scores
from radcap.report.tables import dataset_and_models, quality
from radcap.report.tables.examples import Texts, examples
from radcap.report.tables.inputs import Inputs
from radcap.report.tables.render import FORMS
from radcap.report.tables.table import Table, shown

NOT_COMPARABLE = (
    "The study's figures are not comparable with these: this run trained miniatures of its models, or on other images."
)


def tables(inputs: Inputs, scores: Scores, texts: Texts) -> list[Table]:
    """Tables 1 to 7, or as many examples as the settings ask for."""
    all_tables = [
        dataset_and_models.modalities(inputs),
        dataset_and_models.models(inputs),
        dataset_and_models.adapters(inputs),
        quality.main(inputs),
        quality.prompting(inputs),
        *examples(inputs, scores, texts, count=inputs.settings.report.examples),
    ]
    return [table if table.comparable else _marked(table) for table in all_tables]


def _marked(table: Table) -> Table:
    return replace(table, notes=(*table.notes, NOT_COMPARABLE)) if "published" in shown(table) else table


def write(folder: Path, all_tables: Sequence[Table]) -> None:
    """The same tables give the same bytes; an older folder goes."""
    with files.atomic_folder(folder) as out:
        for table in all_tables:
            for suffix, render in FORMS.items():
                files.write_text(out / f"{table.name}.{suffix}", render(table))
