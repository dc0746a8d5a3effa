"""What came out, and whether it adds up: report, audit."""

import argparse
import json
import sys

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


def audit(options: argparse.Namespace) -> None:
    from radcap import settings
    from radcap.report.audit import check, own, render
    from radcap.report.published import study

    ours = own.figures(settings.load())
    audits = [check.audit(figures) for figures in (study(), ours) if figures]
    if options.json:
        print(json.dumps([render.as_json(audit) for audit in audits], indent=2, ensure_ascii=False))
    else:
        print(render.text(audits), end="")
        if not ours:
            print("this workspace has no metrics yet; `dvc repro` makes them")
    sys.exit(1 if options.strict and any(audit.findings for audit in audits) else 0)
