"""Captions, the models' own or anyone's: caption, score, submission."""

import argparse
import json
import sys
from pathlib import Path

from radcap import layout
from radcap.errors import UserError


def caption(options: argparse.Namespace) -> None:
    from radcap import files, settings
    from radcap.caption import image_files as captioning
    from radcap.data import image_files

    if options.out and options.out.is_dir():
        raise UserError(f"{options.out} is a folder; --out needs a file")
    params = settings.load()
    strategy = captioning.trained_variant(params, options.model, strategy=options.strategy)
    paths = image_files.find_images(options.images)
    result = captioning.caption_images(
        params, options.model, paths, prompt=options.prompt, batch_size=options.batch_size
    )
    for line in result.notes():
        print(f"radcap: {line}", file=sys.stderr)
    text = result.json_lines(options.model, strategy) if options.json else result.text()
    if options.out:
        files.write_text(options.out, text)
        print(f"{len(result.captions)} captions in {options.out}")
    else:
        print(text, end="")
    sys.exit(1 if result.refused else 0)


def score(options: argparse.Namespace) -> None:
    from radcap.metrics.evaluator import Evaluator
    from radcap.metrics.raw_scores import write_per_caption
    from radcap.submission import read_scoring_inputs

    scoring = read_scoring_inputs(options.candidates, options.references, options.images)
    evaluator = Evaluator(
        options.scorers,
        metrics=options.metrics,
        images=scoring.images is not None,
        cache=layout.score_cache(),
        processes=options.jobs,
    )
    measured = evaluator.score(scoring.candidates, scoring.references, scoring.images)
    if not measured.values:
        raise UserError("; ".join(f"{name}: {reason}" for name, reason in evaluator.missing.items()))
    if options.per_caption:
        write_per_caption(options.per_caption, measured.columns(scoring.ids))
    figures = measured.means(options.protocol)
    if options.json:
        record = {"protocol": options.protocol, **measured.record(), **evaluator.identity()}
        print(json.dumps(figures | record, indent=2, ensure_ascii=False))
        return
    for name, value in figures.items():
        shown = "n/a" if value is None else str(value) if name == "n" else f"{value:.4f}"
        print(f"{name:<12}{shown:>8}" + (f"  {evaluator.missing[name]}" if name in evaluator.missing else ""))
    for line in measured.remarks():
        print(line)


def submission(options: argparse.Namespace) -> None:
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
    captions = submission.read_generated(layout.captions(options.model) / f"{variant}.jsonl", ids)
    out = options.out or Path("submissions") / f"{options.model}.csv"
    changed = submission.write(out, ids, [caption.caption for caption in captions])
    empty = sum(not caption.caption for caption in captions)
    cut = sum(caption.finish == "length" for caption in captions)
    print(f"{options.model}: {len(captions)} captions ({variant}) in {out}")
    print(f"changed by the rules: {changed}, empty: {empty}, cut at max_new_tokens: {cut}{remark}")


def _check_submission(options: argparse.Namespace) -> None:
    from radcap import submission

    if options.variant or options.out:
        raise UserError("--variant and --out go with MODEL, not with --check")
    ids, remark = (list(submission.read_submission(options.references)), "") if options.references else _test_ids()
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
    report = layout.data_report()
    refused = files.read_json(report)["splits"]["test"]["quarantined"] if report.exists() else {}
    lost = sum(refused.values())
    return ids, f"\nthe test split lacks {lost} of its source's rows, see data/quarantine.csv" if lost else ""
