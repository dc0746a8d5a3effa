"""The `radcap` command: what people ask of a project besides running it."""

import argparse
from pathlib import Path
from typing import get_args

from radcap import __version__, layout
from radcap.commands import captions, models, project, results
from radcap.errors import one_line_errors
from radcap.metrics.protocols import METRICS, PROTOCOLS
from radcap.settings import PromptName

PROMPTS = get_args(PromptName)


def main(arguments: list[str] | None = None) -> None:
    """Parse and run one subcommand; users' mistakes are one line and exit code 2."""
    parser = argparse.ArgumentParser(prog="radcap", description="Reproducible radiology image captioning.")
    parser.add_argument("--version", action="version", version=f"radcap {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    check = commands.add_parser("check", help="validate params.yaml and show what would run")
    check.set_defaults(run=project.check)

    repro = commands.add_parser("repro", help="dvc repro with models side by side")
    repro.add_argument("--jobs", type=_positive, default=2, metavar="N", help="models at once; default: %(default)s")
    repro.set_defaults(run=project.repro)

    report = commands.add_parser("report", help="show the results table")
    shown = report.add_mutually_exclusive_group()
    shown.add_argument("--readme", type=Path, metavar="FILE", help="also bring the table in this README up to date")
    shown.add_argument("--cost", action="store_true", help="what each model took here, beside its quality, instead")
    shown.add_argument("--page", action="store_true", help="write reports/index.html of what lies here, instead")
    report.set_defaults(run=results.report)

    audit = commands.add_parser("audit", help="recompute the study's tables, and our own, from their components")
    audit.add_argument("--json", action="store_true", help="as JSON")
    audit.add_argument("--strict", action="store_true", help="end with exit code 1 where a figure is off")
    audit.set_defaults(run=results.audit)

    compare = commands.add_parser("compare", help="experiments side by side: parameters, what trained, scores, tests")
    compare.add_argument("experiments", nargs="*", metavar="EXP", help="or branches, commits; default: this commit's")
    form = compare.add_mutually_exclusive_group()
    form.add_argument("--md", action="store_true", help="as Markdown")
    form.add_argument("--json", action="store_true", help="as JSON")
    compare.set_defaults(run=results.compare)

    sheet = commands.add_parser("sheet", help="draw a contact sheet of a prepared split")
    sheet.add_argument("split", choices=[*layout.SPLITS, "general"])
    sheet.add_argument("--out", type=Path, default=Path("sheet.png"), metavar="FILE", help="default: %(default)s")
    sheet.add_argument("--count", type=_positive, default=40, metavar="N", help="pictures; default: %(default)s")
    sheet.set_defaults(run=project.sheet)

    caption = commands.add_parser(
        "caption", help="caption any pictures (PNG, JPEG, DICOM, ...) with a fine-tuned model"
    )
    caption.add_argument("images", nargs="+", metavar="IMAGE", help="files, or folders of them")
    caption.add_argument("--model", required=True, metavar="M", help="its key in params.yaml")
    caption.add_argument("--strategy", metavar="S", help="make sure that the model was trained with this one")
    caption.add_argument(
        "--prompt", choices=PROMPTS, default="plain", help="modality: say the picture's modality first; default: plain"
    )
    caption.add_argument("--json", action="store_true", help="one JSON object a line")
    caption.add_argument("--out", type=Path, metavar="FILE", help="default: standard output")
    caption.add_argument("--batch-size", type=_positive, metavar="N", help="default: the profile's")
    caption.set_defaults(run=captions.caption)

    export = commands.add_parser("export", help="write a fine-tuned model for use elsewhere")
    export.add_argument("model", metavar="MODEL", help="its key in params.yaml")
    export.add_argument("--merged", action="store_true", help="whole weights with the adapter merged in")
    export.add_argument("--out", type=Path, metavar="DIR", help="default: export/MODEL")
    export.set_defaults(run=models.export)

    plan = commands.add_parser("plan", help="parameters, adapters and memory at full size, beside the study's")
    plan.add_argument("--strategy", nargs="+", default=[], metavar="S", help="default: all")
    plan.add_argument("--models", nargs="+", default=[], metavar="KEY", help="default: all of params.yaml")
    plan.add_argument("--json", action="store_true", help="as JSON, in parameters and bytes")
    plan.set_defaults(run=models.plan)

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
    score.set_defaults(run=captions.score)

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
    submission.set_defaults(run=captions.submission)

    fetch = commands.add_parser("fetch", help="download what a profile needs, where the hub is reachable")
    fetch.add_argument("what", choices=["scorers"], help="the metrics' public checkpoints, to where the profile wants")
    fetch.add_argument("--profile", default="rocov2", metavar="P", help="default: %(default)s")
    fetch.add_argument("--yes", action="store_true", help="do not ask")
    fetch.set_defaults(run=project.fetch)

    doctor = commands.add_parser("doctor", help="what a profile needs: present, missing, how to get it")
    doctor.add_argument("--profile", metavar="P", help="default: the one of params.yaml")
    doctor.add_argument("--json", action="store_true", help="as JSON")
    doctor.set_defaults(run=project.doctor)

    options = parser.parse_args(arguments)
    with one_line_errors():
        options.run(options)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number
