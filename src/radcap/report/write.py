"""Writes the whole report: tables, statistics, correlations, audit, plots and the summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from radcap import files, layout, seeds
from radcap.data import concepts
from radcap.report import plots, scores
from radcap.report.audit import check, render, workspace_tables
from radcap.report.published import study
from radcap.report.statistics import significance
from radcap.report.summary import CaptionCounts, summary
from radcap.report.tables import correlations
from radcap.report.tables import write as study_tables
from radcap.report.tables.examples import Texts
from radcap.report.tables.inputs import Inputs
from radcap.train.log import read_log


def write(inputs: Inputs, test: Any, *, clusters: Sequence[str | None] | None = None) -> None:
    """Write reports/ and plots/ of this workspace. `test`: the test split; `clusters`: its images' source articles."""
    params, reports = inputs.settings, layout.REPORTS
    per_caption = scores.read({key: layout.scores(key) for key in inputs.metrics}, params.score.protocol)
    texts, counts = _texts(inputs, test)
    study_tables.write(layout.tables(), study_tables.tables(inputs, per_caption, texts))
    findings = significance.analyse(
        per_caption, params.report, seed=seeds.derive_seed(params.seed, "aggregate"), clusters=clusters
    )
    files.write_json(reports / "statistics.json", significance.as_json(findings))
    related = {
        "correlations": correlations.correlations(inputs),
        "complexity": correlations.by_complexity(
            per_caption, [len(cuis) for cuis in test["cuis"]], params.report.bins.model_dump()
        ),
        "modality": correlations.by_modality(per_caption, texts.modalities),
    }
    files.write_json(reports / "relations.json", related)
    files.write_text(reports / "relations.md", correlations.page(related, comparable=inputs.comparable))
    ours = workspace_tables.figures(params)
    audits = [check.audit(figures) for figures in (study(), ours) if figures]
    files.write_json(reports / "audit.json", [render.as_json(audit) for audit in audits])
    files.write_text(reports / "audit.md", render.page(audits))
    _plots(inputs, related, per_caption.columns[-1])
    files.write_text(reports / "summary.md", summary(inputs, findings, related, audits, counts))


def _texts(inputs: Inputs, test: Any) -> tuple[Texts, CaptionCounts]:
    """References, captions and their modalities, and how many captions are empty or cut."""
    from radcap.caption.records import read_captions

    captions = {
        (key, path.stem): read_captions(path)
        for key in inputs.metrics
        for path in sorted(layout.captions(key).glob("*.jsonl"))
    }
    tuned = [caption for (_, variant), rows in captions.items() if variant != "base" for caption in rows]
    texts = Texts(
        references=list(test["raw_caption"]),
        modalities=[concepts.modality(cuis) for cuis in test["cuis"]],
        captions={key: [caption.caption for caption in rows] for key, rows in captions.items()},
    )
    empty, cut = (
        sum(per_caption) for per_caption in zip(*((not c.caption, c.finish == "length") for c in tuned), strict=True)
    )
    return texts, CaptionCounts(len(tuned), empty, cut)


def _plots(inputs: Inputs, related: Mapping[str, Any], quality: str) -> None:
    data = {
        "overall": plots.overall(inputs, quality),
        "parameters": plots.parameters(inputs, quality),
        "loss": plots.loss({key: read_log(layout.scores(key) / "log.csv") for key in inputs.models}),
        "complexity": plots.complexity(related["complexity"], quality),
    }
    plots.write(layout.PLOTS, data)
    # The stage modality writes what DVC draws of this one.
    pairs = plots.confusion(layout.confusion_plot())
    plots.draw(layout.REPORTS / "plots", data | ({"confusion": pairs} if pairs else {}), plots.Look(inputs, quality))
