"""The pipeline and its data: check, repro, sheet, fetch, doctor."""

import argparse
import json
import sys

from radcap import layout


def check(_: argparse.Namespace) -> None:
    from radcap import settings

    params = settings.load()
    print(f"profile {params.profile}, source {params.active.data.source}, weights {params.active.weights}")
    print(f"protocol {params.score.protocol}, seed {params.seed}")
    for key in params.models:
        print(f"{key}: {params.variant(key)}")


def repro(options: argparse.Namespace) -> None:
    from radcap import settings
    from radcap.launch.repro import repro

    repro(settings.load(), jobs=options.jobs)


def sheet(options: argparse.Namespace) -> None:
    from radcap.data import store
    from radcap.report.contact_sheet import contact_sheet

    rows = store.read(layout.split(options.split))
    count = min(options.count, len(rows))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    contact_sheet(rows, range(count)).save(options.out)
    print(f"{count} of {len(rows)} rows of {options.split} in {options.out}")


def fetch(options: argparse.Namespace) -> None:
    from radcap import settings
    from radcap.assets import fetch

    if not fetch.fetch_scorers(settings.load(), profile=options.profile, yes=options.yes):
        sys.exit(1)


def doctor(options: argparse.Namespace) -> None:
    from radcap import settings
    from radcap.assets import doctor

    params = settings.load()
    report = doctor.report(params, options.profile or params.profile)
    print(json.dumps(report, indent=2, ensure_ascii=False) if options.json else doctor.render(report).rstrip())
    sys.exit(0 if report["ready"] else 1)
