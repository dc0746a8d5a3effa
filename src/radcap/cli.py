"""The `radcap` command: what people ask of a project besides running it."""

import argparse
import json
import sys
from pathlib import Path

from radcap import __version__, layout
from radcap.errors import UserError, one_line_errors
from radcap.metrics.protocols import METRICS, PROTOCOLS


def main(arguments: list[str] | None = None) -> None:
    """Parse and run one subcommand; users' mistakes are one line and exit code 2."""
    parser = argparse.ArgumentParser(prog="radcap", description="Reproducible radiology image captioning.")
    parser.add_argument("--version", action="version", version=f"radcap {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    check = commands.add_parser("check", help="validate params.yaml and show what would run")
    check.set_defaults(run=_check)

    repro = commands.add_parser("repro", help="dvc repro with models side by side")
    repro.add_argument("--jobs", type=_positive, default=2, metavar="N", help="models at once; default: %(default)s")
    repro.set_defaults(run=_repro)

    report = commands.add_parser("report", help="show the results table")
    report.add_argument("--readme", type=Path, metavar="FILE", help="also bring the table in this README up to date")
    report.add_argument("--page", action="store_true", help="write reports/index.html of what lies here")
    report.set_defaults(run=_report)

    sheet = commands.add_parser("sheet", help="draw a contact sheet of a prepared split")
    sheet.add_argument("split", choices=[*layout.SPLITS, "general"])
    sheet.add_argument("--out", type=Path, default=Path("sheet.png"), metavar="FILE", help="default: %(default)s")
    sheet.add_argument("--count", type=_positive, default=40, metavar="N", help="pictures; default: %(default)s")
    sheet.set_defaults(run=_sheet)

    caption = commands.add_parser(
        "caption", help="caption any pictures (PNG, JPEG, DICOM, ...) with a fine-tuned model"
    )
    caption.add_argument("images", nargs="+", metavar="IMAGE", help="files, or folders of them")
    caption.add_argument("--model", required=True, metavar="M", help="its key in params.yaml")
    caption.add_argument("--strategy", metavar="S", help="make sure that the model was trained with this one")
    caption.add_argument("--json", action="store_true", help="one JSON object a line")
    caption.add_argument("--out", type=Path, metavar="FILE", help="default: standard output")
    caption.add_argument("--batch-size", type=_positive, metavar="N", help="default: the profile's")
    caption.set_defaults(run=_caption)

    export = commands.add_parser("export", help="write a fine-tuned model for use elsewhere")
    export.add_argument("model", metavar="MODEL", help="its key in params.yaml")
    export.add_argument("--merged", action="store_true", help="whole weights with the adapter merged in")
    export.add_argument("--out", type=Path, metavar="DIR", help="default: export/MODEL")
    export.set_defaults(run=_export)

    plan = commands.add_parser("plan", help="parameters, adapters and memory at full size, beside the study's")
    plan.add_argument("--strategy", nargs="+", default=[], metavar="S", help="default: all")
    plan.add_argument("--models", nargs="+", default=[], metavar="KEY", help="default: all of params.yaml")
    plan.add_argument("--json", action="store_true", help="as JSON, in parameters and bytes")
    plan.set_defaults(run=_plan)

    score = commands.add_parser("score", help="score anyone's captions against references (ImageCLEF CSV files)")
    score.add_argument("candidates", type=Path, metavar="CANDIDATES.csv", help="header ID,Caption")
    score.add_argument("references", type=Path, metavar="REFERENCES.csv", help="the same ids")
    score.add_argument("--images", type=Path, metavar="DIR", help="<ID>.png, .jpg, ...; similarity needs them")
    score.add_argument("--protocol", choices=PROTOCOLS, default="as-described", help="default: %(default)s")
    score.add_argument("--metrics", nargs="+", choices=METRICS, default=list(METRICS), metavar="M", help="default: all")
    score.add_argument("--scorers", type=Path, default=layout.SCORERS, metavar="DIR", help="default: %(default)s")
    score.add_argument("--jobs", type=_positive, default=1, metavar="N", help="processes that look for concepts")
    score.add_argument("--per-caption", type=Path, metavar="FILE", help="also write every caption's scores (Parquet)")
    score.add_argument("--json", action="store_true", help="means, protocol, checkpoints and versions as JSON")
    score.set_defaults(run=_score)

    submission = commands.add_parser(
        "submission",
        help="write or check an ImageCLEF caption submission file",
        usage="radcap submission MODEL [--variant V] [--out FILE]\n"
        "       radcap submission --check FILE [--references CSV]",
    )
    what = submission.add_mutually_exclusive_group(required=True)
    what.add_argument("model", nargs="?", metavar="MODEL", help="write its captions of the test split")
    what.add_argument("--check", type=Path, metavar="FILE", help="tell every fault of this file, anyone's")
    submission.add_argument("--variant", metavar="V", help="with MODEL: which of its captions; default: plain")
    submission.add_argument("--out", type=Path, metavar="FILE", help="with MODEL; default: submissions/MODEL.csv")
    submission.add_argument(
        "--references", type=Path, metavar="CSV", help="with --check: header ID,Caption; default: the test split"
    )
    submission.set_defaults(run=_submission)

    fetch = commands.add_parser("fetch", help="download what a profile needs, where the hub is reachable")
    fetch.add_argument("what", choices=["scorers"], help="the metrics' public checkpoints, to where the profile wants")
    fetch.add_argument("--profile", default="rocov2", metavar="P", help="default: %(default)s")
    fetch.add_argument("--yes", action="store_true", help="do not ask")
    fetch.set_defaults(run=_fetch)

    doctor = commands.add_parser("doctor", help="what a profile needs: present, missing, how to get it")
    doctor.add_argument("--profile", metavar="P", help="default: the one of params.yaml")
    doctor.add_argument("--json", action="store_true", help="as JSON")
    doctor.set_defaults(run=_doctor)

    options = parser.parse_args(arguments)
    with one_line_errors():
        options.run(options)


def _check(_: argparse.Namespace) -> None:
    from radcap import settings

    params = settings.load()
    print(f"profile {params.profile}, source {params.active.data.source}, weights {params.active.weights}")
    print(f"protocol {params.score.protocol}, seed {params.seed}")
    for key in params.models:
        print(f"{key}: {params.variant(key)}")


def _repro(options: argparse.Namespace) -> None:
    from radcap import launch, settings

    launch.repro(settings.load(), jobs=options.jobs)


def _report(options: argparse.Namespace) -> None:
    from radcap.report.readme import table_of, update

    if options.page:
        _page()
        return
    path = layout.REPORTS / "summary.md"
    if not path.exists():
        raise UserError(f"{path} not found; `dvc repro` makes it")
    print(table_of(path.read_text(encoding="utf-8")), end="")
    if options.readme and update(options.readme, path):
        print(f"updated the table in {options.readme}")


def _page() -> None:
    from radcap import settings
    from radcap.report.page.collect import page

    out = layout.REPORTS / "index.html"
    written = page(settings.load(), out)
    print("\n".join([f"{out}: {written.size / 2**20:.1f} MiB", *written.notes]))


def _sheet(options: argparse.Namespace) -> None:
    from radcap.data import store
    from radcap.report.sheet import contact_sheet

    rows = store.read(layout.split(options.split))
    count = min(options.count, len(rows))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    contact_sheet(rows, range(count)).save(options.out)
    print(f"{count} of {len(rows)} rows of {options.split} in {options.out}")


def _caption(options: argparse.Namespace) -> None:
    from radcap import files, settings
    from radcap.any_image import captions, pictures

    if options.out and options.out.is_dir():
        raise UserError(f"{options.out} is a folder; --out wants a file")
    params = settings.load()
    variant = captions.trained_variant(params, options.model, strategy=options.strategy)
    paths = pictures.find(options.images)
    found = captions.caption(params, options.model, paths, variant=variant, batch_size=options.batch_size)
    for line in found.notes(limit=params.generate.max_new_tokens):
        print(f"radcap: {line}", file=sys.stderr)
    text = found.json_lines(options.model) if options.json else found.text()
    if options.out:
        files.write_text(options.out, text)
        print(f"{len(found.captions)} captions in {options.out}")
    else:
        print(text, end="")
    sys.exit(1 if found.refused else 0)


def _export(options: argparse.Namespace) -> None:
    from radcap import settings
    from radcap.export import export

    params = settings.load()
    params.model(options.model)
    out = options.out or Path("export") / options.model
    tuned, base = layout.tuned(options.model), layout.base(options.model)
    export(tuned, base, out, merged=options.merged, dtype=params.active.dtype)
    print(f"{options.model}: {'merged weights' if options.merged else 'adapter'} in {out}")


def _plan(options: argparse.Namespace) -> None:
    from radcap import settings
    from radcap.plan import compare, make, table

    params = settings.load()
    plan = make.make(params, strategies=options.strategy, keys=options.models, study=compare.read())
    if options.json:
        print(json.dumps(plan, indent=2))
    else:
        print(table.render(plan, detail=params.lora.strategy), end="")


def _score(options: argparse.Namespace) -> None:
    from radcap.metrics.evaluator import Evaluator
    from radcap.metrics.pairing import pair
    from radcap.metrics.results import write_per_caption

    given = pair(options.candidates, options.references, options.images)
    evaluator = Evaluator(
        options.scorers,
        metrics=options.metrics,
        images=given.images is not None,
        cache=layout.score_cache(),
        processes=options.jobs,
    )
    measured = evaluator.measure(given.candidates, given.references, given.images)
    if not measured.values:
        raise UserError("; ".join(f"{name}: {reason}" for name, reason in evaluator.missing.items()))
    if options.per_caption:
        write_per_caption(options.per_caption, measured.columns(given.ids))
    found = measured.means(options.protocol)
    if options.json:
        told = {"protocol": options.protocol, **measured.record(), **evaluator.identity()}
        print(json.dumps(found | told, indent=2, ensure_ascii=False))
        return
    for name, value in found.items():
        shown = "n/a" if value is None else str(value) if name == "n" else f"{value:.4f}"
        print(f"{name:<12}{shown:>8}" + (f"  {evaluator.missing[name]}" if name in evaluator.missing else ""))
    for line in measured.remarks():
        print(line)


def _submission(options: argparse.Namespace) -> None:
    if options.check is None:
        _write_submission(options)
    else:
        _check_submission(options)


def _write_submission(options: argparse.Namespace) -> None:
    from radcap import settings, submission

    if options.references:
        raise UserError("--references goes with --check, not with MODEL")
    settings.load().model(options.model)
    ids, remark = _test_ids()
    variant = options.variant or "plain"
    made = submission.generated(layout.captions(options.model) / f"{variant}.jsonl", ids)
    out = options.out or Path("submissions") / f"{options.model}.csv"
    changed = submission.write(out, ids, [caption.caption for caption in made])
    empty = sum(not caption.caption for caption in made)
    cut = sum(caption.finish == "length" for caption in made)
    print(f"{options.model}: {len(made)} captions ({variant}) in {out}")
    print(f"changed by the rules: {changed}, empty: {empty}, cut at max_new_tokens: {cut}{remark}")


def _check_submission(options: argparse.Namespace) -> None:
    from radcap import submission
    from radcap.metrics.pairing import read_captions

    if options.variant or options.out:
        raise UserError("--variant and --out go with MODEL, not with --check")
    ids, remark = (list(read_captions(options.references)), "") if options.references else _test_ids()
    if not ids:
        raise UserError(f"{options.references} holds no caption")
    faults = submission.check(options.check, ids)
    if not faults:
        print(f"{options.check}: {len(ids)} captions, no fault{remark}")
        return
    print(f"{options.check}: {len(faults)} fault{'s' if len(faults) > 1 else ''}")
    print("\n".join(faults[:20]) + (f"\n... and {len(faults) - 20} more" if len(faults) > 20 else "") + remark)
    sys.exit(1)


def _test_ids() -> tuple[list[str], str]:
    """The test split's ids, and a line on the rows of its source that are not among them."""
    from radcap import files
    from radcap.data import store

    ids = list(store.read(layout.split("test"))["id"])
    report = Path("data/report.json")
    refused = files.read_json(report)["splits"]["test"]["quarantined"] if report.exists() else {}
    lost = sum(refused.values())
    return ids, f"\nthe test split lacks {lost} of its source's rows, see data/quarantine.csv" if lost else ""


def _fetch(options: argparse.Namespace) -> None:
    from radcap import settings
    from radcap.checkpoints import fetch

    if not fetch.scorers(settings.load(), profile=options.profile, yes=options.yes):
        sys.exit(1)


def _doctor(options: argparse.Namespace) -> None:
    from radcap import settings
    from radcap.checkpoints import doctor

    params = settings.load()
    found = doctor.report(params, options.profile or params.profile)
    print(json.dumps(found, indent=2, ensure_ascii=False) if options.json else doctor.render(found).rstrip())
    sys.exit(0 if found["ready"] else 1)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number
