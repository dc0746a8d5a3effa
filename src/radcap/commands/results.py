"""What came out, and whether it adds up: report, audit, compare."""

import argparse
import json
import sys

from radcap import layout
from radcap.errors import UserError


def report(options: argparse.Namespace) -> None:
    from radcap.report.readme import table_of, update

    if options.cost:
        _cost()
        return
    if options.page:
        _page()
        return
    path = layout.REPORTS / "summary.md"
    if not path.exists():
        raise UserError(f"{path} not found; `dvc repro` makes it")
    print(table_of(path.read_text(encoding="utf-8")), end="")
    if options.readme and update(options.readme, path):
        print(f"updated the table in {options.readme}")


def _cost() -> None:
    from radcap import settings
    from radcap.report import cost
    from radcap.report.tables import comparison

    metrics = comparison.collect(settings.load())
    print(cost.page(metrics, cost.records(metrics)), end="")


def _page() -> None:
    from radcap import settings
    from radcap.report.page.collect import page

    out = layout.REPORTS / "index.html"
    written = page(settings.load(), out)
    print("\n".join([f"{out}: {written.size / 2**20:.1f} MiB", *written.notes]))


def audit(options: argparse.Namespace) -> None:
    from radcap import settings
    from radcap.report.audit import check, render, workspace_tables
    from radcap.report.published import study

    ours = workspace_tables.figures(settings.load())
    audits = [check.audit(figures) for figures in (study(), ours) if figures]
    if options.json:
        print(json.dumps([render.as_json(audit) for audit in audits], indent=2, ensure_ascii=False))
    else:
        print(render.text(audits), end="")
        if not ours:
            print("this workspace has no metrics yet; `dvc repro` makes them")
    sys.exit(1 if options.strict and any(audit.findings for audit in audits) else 0)


def compare(options: argparse.Namespace) -> None:
    from radcap import seeds, settings
    from radcap.report.compare import compare, read, render

    params = settings.load()
    protocol = params.score.protocol
    experiments = read.experiments(options.experiments, protocol=protocol)
    comparison = compare.compare(
        experiments, params.report, protocol=protocol, seed=seeds.derive_seed(params.seed, "compare")
    )
    if options.json:
        print(json.dumps(comparison, indent=2, ensure_ascii=False))
    else:
        print(render.as_markdown(comparison) if options.md else render.text(comparison), end="")
