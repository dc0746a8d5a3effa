"""What came out: report."""

import argparse

from radcap import layout
from radcap.errors import UserError


def report(options: argparse.Namespace) -> None:
    from radcap.report.readme import table_of, update

    path = layout.REPORTS / "summary.md"
    if not path.exists():
        raise UserError(f"{path} not found; `dvc repro` makes it")
    print(table_of(path.read_text(encoding="utf-8")), end="")
    if options.readme and update(options.readme, path):
        print(f"updated the table in {options.readme}")
