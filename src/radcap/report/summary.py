"""reports/summary.md: what ran, on what, by which protocol, and which differences are more than chance."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from radcap.metrics.protocols import PLACES, PROTOCOLS
from radcap.report.audit.check import Audit
from radcap.report.audit.render import flip_line, verdict
from radcap.report.markdown import markdown
from radcap.report.statistics.families import Difference, Estimate
from radcap.report.statistics.significance import CONTROLS, Findings, model_of
from radcap.report.tables import comparison, correlations
from radcap.report.tables.comparison import COLUMNS, number
from radcap.report.tables.inputs import Inputs


@dataclass(frozen=True)
class Told:
    """Captions of the test split by (model, variant): how many, empty, and cut at max_new_tokens."""

    captions: int
    empty: int
    cut: int


def summary(inputs: Inputs, found: Findings, relations: Mapping[str, Any], audits: Sequence[Audit], told: Told) -> str:
    """The whole page. Its first table is the README's."""
    column = found.columns[-1]
    parts = [
        "# Results\n",
        *_what_ran(inputs, found, told),
        comparison.comparison(inputs.settings, inputs.metrics, sure(found, column)),
        _how_to_read(found, column),
        "## Models\n",
        *_models(found, column),
        "## Prompting\n",
        *_prompting(inputs, found),
        "## Controls\n",
        *_controls(inputs, found, column),
        "## Parameters and quality\n",
        *_relations(relations, inputs, column),
        "## Audit\n",
        *_audit(audits),
        "## Where the rest is\n",
        REST,
    ]
    return "\n".join(parts)


REST = """\
- `index.html`: all of it on one page, with every test image, its captions, scores and concepts
- `tables/`: the study's tables from this run, beside the published figures (Markdown, CSV, LaTeX, JSON)
- `statistics.json`: every interval, difference, p and effect size, of all nine columns
- `relations.md`: quality by complexity of the reference and by modality; all correlations
- `audit.md`: what is off in the published tables, and in these
- `plots/`: the same as pictures; `plan.md`: parameters and memory at full size
"""


def sure(found: Findings, column: str) -> comparison.Sure:
    """What stands beside each model's figures: the interval of a column, and the letters."""
    marks = found.letters(column)
    ends = {model: found.estimates[model, variant][column] for model, variant in found.estimates if variant == "plain"}
    percent = f"{100 * found.settings.confidence:g} %"
    return comparison.Sure(
        heading=f"{COLUMNS[column]}, {percent}",
        cells={model: (_ends(end), marks[model]) for model, end in ends.items()},
    )


def _ends(found: Estimate) -> str:
    # Rounded as in statistics.json first, so that both tell the same.
    return " to ".join(number(round(end, PLACES)) for end in (found.low, found.high))


def _what_ran(inputs: Inputs, found: Findings, told: Told) -> Iterable[str]:
    params = inputs.settings
    protocol, splits = PROTOCOLS[params.score.protocol], inputs.prepared["splits"]
    rows = ", ".join(f"{split} {counts['rows_out']:,}" for split, counts in splits.items())
    refused = sum(sum(counts["quarantined"].values()) for counts in splits.values())
    yield (
        f"**What ran**: profile {params.profile}, {len(inputs.metrics)} models, LoRA strategy {params.lora.strategy}, "
        f"seed {params.seed}; decoding with beams {params.generate.beams}, max_new_tokens "
        f"{params.generate.max_new_tokens}.\n"
    )
    yield (
        f"**On what**: source {params.active.data.source}, {rows} images; {refused} rows were refused, "
        f"see data/quarantine.csv. Of {told.captions:,} captions, {told.empty} are empty and {told.cut} were cut.\n"
    )
    yield (
        f"**Protocol** {params.score.protocol}: BERTScore {protocol.bertscore}, similarity {protocol.similarity}, "
        f"concepts of {protocol.semantic_types}; relevance is the mean of "
        f"{', '.join(COLUMNS[name] for name in protocol.relevance)}, factuality of UMLS F1 and AlignScore, "
        "overall of both.\n"
    )
    yield from (f"{line}\n" for line in comparison.unscored(inputs.metrics))
    yield f"{comparison.NOTE}\n" if params.active.weights == "miniature" else "Published weights.\n"


def _how_to_read(found: Findings, column: str) -> str:
    units = (
        f"the {found.captions:,} captions"
        if found.clusters == found.captions
        else f"the {found.clusters:,} source articles of {found.captions:,} captions"
    )
    tests = "paired permutation tests, Holm's correction over all pairs"
    return (
        f"Intervals: bootstrap of {units}, {found.settings.resamples:,} resamples, BCa. Models that share a letter "
        f"do not differ significantly in {COLUMNS[column]}: {tests}, alpha {found.settings.alpha:g}.\n"
    )


def _models(found: Findings, column: str) -> Iterable[str]:
    rows = []
    for name in found.columns:
        differences = found.of("models", name)
        alike = [d for d in differences if not found.significant(d)]
        rows.append([COLUMNS[name], f"{len(differences) - len(alike)} of {len(differences)}"])
    yield markdown(["Column", "Pairs of models that differ significantly"], rows)
    alike = [d for d in found.of("models", column) if not found.significant(d)]
    if alike:
        yield f"Not told apart in {COLUMNS[column]}:\n"
        yield "".join(f"- {model_of(d.first)} and {model_of(d.second)}: {_line(d)}\n" for d in alike)


def _prompting(inputs: Inputs, found: Findings) -> Iterable[str]:
    yield _classifier(inputs.classifier)
    if not found.families["prompts"]:
        yield "No model was told the modality.\n"
        return
    aggregates = [name for name in ("relevance", "factuality", "overall") if name in found.columns]
    shown = aggregates or found.columns
    rows: list[list[str]] = [
        [model_of(d.second), d.first.split(" ")[1], COLUMNS[name], *_cells(d), "yes" if found.significant(d) else "no"]
        for name in shown
        for d in found.of("prompts", name)
    ]
    header = ["Model", "Prompt", "Column", "Change", "Interval", "p (Holm)", "dz", "Significant"]
    rows.sort(key=lambda row: row[:2])
    yield markdown(header, rows, words=3)


def _classifier(figures: Mapping[str, Any]) -> str:
    test = figures.get("test")
    if test is None or test["accuracy"] is None:
        return f"No modality was predicted: {figures.get('missing', 'no image of the test split has a label')}.\n"
    return (
        f"The classifier names the right modality of {100 * test['accuracy']:.1f} % of {test['n']:,} test images "
        f"(macro F1 {number(test['macro_f1'])}); {sum(test['left_out'].values())} left out, without a label.\n"
    )


def _controls(inputs: Inputs, found: Findings, column: str) -> Iterable[str]:
    """Both controls: what a model gained by fine-tuning, and by looking at the image."""
    rows = []
    for control in CONTROLS:
        for d in found.of(f"against {control}", column):
            low = inputs.metrics[model_of(d.first)][control].get(column)
            rows.append([control, model_of(d.first), number(low), *_cells(d), "yes" if found.significant(d) else "no"])
    if not rows:
        yield "No control was scored.\n"
        return
    header = ["Control", "Model", COLUMNS[column], "Gain", "Interval", "p (Holm)", "dz", "Significant"]
    yield markdown(header, rows, words=2)
    yield (
        "base: before fine-tuning. shuffled: the fine-tuned model's captions, each scored against another image's "
        "reference; what is left of a score then needs no image.\n"
    )


def _relations(relations: Mapping[str, Any], inputs: Inputs, column: str) -> Iterable[str]:
    rows = [row for row in relations["correlations"] if row["quality"] == column]
    yield correlations.correlation_table(rows) if rows else "No aggregate was scored.\n"
    if not inputs.comparable:
        yield "The study's correlations are recomputed from its tables, and not comparable with these.\n"


def _audit(audits: Sequence[Audit]) -> Iterable[str]:
    lines = [line for audit in audits for line in (verdict(audit), *map(flip_line, audit.flips))]
    yield "".join(f"- {line}\n" for line in lines)


def _cells(found: Difference) -> list[str]:
    interval = f"{found.low:+.3f} to {found.high:+.3f}"
    return [f"{found.difference:+.3f}", interval, f"{found.p_holm:.4f}", f"{found.effect:+.2f}"]


def _line(found: Difference) -> str:
    difference, interval, p, effect = _cells(found)
    return f"{difference} ({interval}), p {p}, dz {effect}"
