"""reports/summary.md: what ran, on which data, under which protocol, and which differences are significant."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from radcap.metrics.protocols import PLACES, PROTOCOLS
from radcap.report.audit.check import Audit
from radcap.report.audit.render import flip_line, verdict
from radcap.report.markdown import markdown
from radcap.report.statistics.analysis import Difference, Estimate
from radcap.report.statistics.significance import BASELINES, Findings, model_of
from radcap.report.tables import comparison, correlations
from radcap.report.tables.comparison import COLUMNS, number
from radcap.report.tables.inputs import Inputs


@dataclass(frozen=True)
class CaptionCounts:
    """Captions of the test split by all models and prompts: all, the empty ones, and those cut at max_new_tokens."""

    captions: int
    empty: int
    cut: int


def summary(
    inputs: Inputs, findings: Findings, relations: Mapping[str, Any], audits: Sequence[Audit], counts: CaptionCounts
) -> str:
    """The whole page. Its first table is also in the README."""
    column = findings.columns[-1]
    parts = [
        "# Results\n",
        *_what_ran(inputs, findings, counts),
        comparison.comparison(inputs.settings, inputs.metrics, uncertainty(findings, column)),
        _how_to_read(findings, column),
        "## Models\n",
        *_models(findings, column),
        "## Modality-aware prompting\n",
        *_prompting(inputs, findings),
        "## Baselines\n",
        *_baselines(inputs, findings, column),
        "## Model size and scores\n",
        *_relations(relations, inputs, column),
        "## Audit\n",
        *_audit(audits),
        "## Further files\n",
        REST,
    ]
    return "\n".join(parts)


REST = """\
- `index.html`: all results on one page, with every test image, its captions, scores and concepts
- `tables/`: the study's tables from this run, beside the published figures (Markdown, CSV, LaTeX, JSON)
- `statistics.json`: all intervals, differences, p values and effect sizes, for all nine columns
- `relations.md`: scores by complexity of the reference and by modality, and all correlations
- `audit.md`: errors in the published tables, and in these
- `plots/`: the plots; `plan.md`: parameters and memory at full size
"""


def uncertainty(findings: Findings, column: str) -> comparison.Uncertainty:
    """The confidence interval of each model in a column, and its group letters."""
    letters, estimates = findings.letters(column), findings.estimates
    intervals = {model: _interval(estimates[model, name][column]) for model, name in estimates if name == "plain"}
    return comparison.Uncertainty(
        heading=f"{COLUMNS[column]} {100 * findings.settings.confidence:g} % CI",
        cells={model: (interval, letters[model]) for model, interval in intervals.items()},
    )


def _interval(estimate: Estimate) -> str:
    # Rounded first as in statistics.json, so that both show the same figures.
    return " to ".join(number(round(bound, PLACES)) for bound in (estimate.low, estimate.high))


def _what_ran(inputs: Inputs, findings: Findings, captions: CaptionCounts) -> Iterable[str]:
    params = inputs.settings
    protocol, splits = PROTOCOLS[params.score.protocol], inputs.prepared["splits"]
    rows = ", ".join(f"{split} {counts['rows_out']:,}" for split, counts in splits.items())
    refused = sum(sum(counts["quarantined"].values()) for counts in splits.values())
    yield (
        f"**Run**: profile {params.profile}, models: {len(inputs.metrics)}, LoRA strategy {params.lora.strategy}, "
        f"seed {params.seed}. Decoding: beams {params.generate.beams}, max_new_tokens "
        f"{params.generate.max_new_tokens}.\n"
    )
    yield (
        f"**Data**: source {params.active.data.source}; images: {rows}; refused rows: {refused} (data/quarantine.csv). "
        f"Of {captions.captions:,} generated captions, {captions.empty} are empty and {captions.cut} were cut at "
        "the token limit.\n"
    )
    yield (
        f"**Protocol**: {params.score.protocol} (BERTScore {protocol.bertscore}, similarity {protocol.similarity}, "
        f"concepts {protocol.semantic_types}). Relevance is the mean of "
        f"{', '.join(COLUMNS[name] for name in protocol.relevance)}. Factuality is the mean of UMLS F1 and AlignScore. "
        "Overall is the mean of both.\n"
    )
    yield from (f"{line}\n" for line in comparison.unscored(inputs.metrics))
    yield f"{comparison.NOTE}\n" if params.active.weights == "miniature" else "Published weights.\n"


def _how_to_read(findings: Findings, column: str) -> str:
    units = (
        f"{findings.captions:,} captions"
        if findings.clusters == findings.captions
        else f"the {findings.clusters:,} source articles of {findings.captions:,} captions"
    )
    return (
        f"CI: BCa bootstrap confidence interval over {units}, {findings.settings.resamples:,} resamples. Group: models "
        f"that share a letter do not differ significantly in {COLUMNS[column]} (paired permutation tests over all "
        f"pairs, Holm's correction, alpha {findings.settings.alpha:g}).\n"
    )


def _models(findings: Findings, column: str) -> Iterable[str]:
    rows = []
    for name in findings.columns:
        differences = findings.of("models", name)
        significant = [d for d in differences if findings.significant(d)]
        rows.append([COLUMNS[name], f"{len(significant)} of {len(differences)}"])
    if len(inputs_models := [key for key, variant in findings.estimates if variant == "plain"]) < 2:
        yield f"Only {inputs_models[0]} ran, so there are no models to compare.\n"
        return
    yield markdown(["Metric", "Pairs of models that differ significantly"], rows)
    similar = [d for d in findings.of("models", column) if not findings.significant(d)]
    if similar:
        yield f"Pairs of models that do not differ significantly in {COLUMNS[column]}:\n"
        yield "".join(f"- {model_of(d.first)} and {model_of(d.second)}: {_line(d)}\n" for d in similar)


def _prompting(inputs: Inputs, findings: Findings) -> Iterable[str]:
    yield _classifier(inputs.classifier)
    if not findings.families["prompts"]:
        yield "No model was prompted with the modality.\n"
        return
    aggregates = [name for name in ("relevance", "factuality", "overall") if name in findings.columns]
    shown = aggregates or findings.columns
    rows: list[list[str]] = [
        [
            model_of(d.second),
            d.first.split(" ")[1],
            COLUMNS[name],
            *_cells(d),
            "yes" if findings.significant(d) else "no",
        ]
        for name in shown
        for d in findings.of("prompts", name)
    ]
    header = ["Model", "Prompt", "Metric", "Change", "CI", "p (Holm)", "dz", "Significant"]
    rows.sort(key=lambda row: row[:2])
    yield markdown(header, rows, words=3)


def _classifier(figures: Mapping[str, Any]) -> str:
    test = figures.get("test")
    if test is None or test["accuracy"] is None:
        return f"No modality was predicted: {figures.get('missing', 'no image of the test split has a label')}.\n"
    return (
        f"The classifier predicts the right modality for {100 * test['accuracy']:.1f} % of {test['n']:,} test images "
        f"(macro F1 {number(test['macro_f1'])}). Images without a label, left out: {sum(test['left_out'].values())}.\n"
    )


def _baselines(inputs: Inputs, findings: Findings, column: str) -> Iterable[str]:
    """What each model gained by fine-tuning, and what it gains by seeing the image."""
    rows = []
    for baseline in BASELINES:
        for d in findings.of(f"against {baseline}", column):
            score = inputs.metrics[model_of(d.first)][baseline].get(column)
            significant = "yes" if findings.significant(d) else "no"
            rows.append([baseline, model_of(d.first), number(score), *_cells(d), significant])
    if not rows:
        yield "No baseline was scored.\n"
        return
    header = ["Baseline", "Model", COLUMNS[column], "Gain", "CI", "p (Holm)", "dz", "Significant"]
    yield markdown(header, rows, words=2)
    yield (
        "base: the model before fine-tuning. shuffled: the captions of the fine-tuned model, each scored against the "
        "reference of another image. That is the score of a model that does not see the image.\n"
    )


def _relations(relations: Mapping[str, Any], inputs: Inputs, column: str) -> Iterable[str]:
    rows = [row for row in relations["correlations"] if row["quality"] == column]
    yield correlations.correlation_table(rows) if rows else "No aggregate was scored.\n"
    if not inputs.comparable:
        yield "The study's correlations are recomputed from its tables. They are not comparable with these.\n"


def _audit(audits: Sequence[Audit]) -> Iterable[str]:
    lines = [line for audit in audits for line in (verdict(audit), *map(flip_line, audit.flips))]
    yield "".join(f"- {line}\n" for line in lines)


def _cells(difference: Difference) -> list[str]:
    interval = f"{difference.low:+.3f} to {difference.high:+.3f}"
    return [f"{difference.difference:+.3f}", interval, f"{difference.p_holm:.4f}", f"{difference.effect:+.2f}"]


def _line(difference: Difference) -> str:
    change, interval, p, effect = _cells(difference)
    return f"{change} ({interval}), p {p}, dz {effect}"
