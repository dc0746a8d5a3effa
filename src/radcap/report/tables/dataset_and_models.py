"""Tables 1 to 3: modalities of the images, models and their sizes, adapters."""

from __future__ import annotations

from radcap import layout
from radcap.report.tables.inputs import Inputs
from radcap.report.tables.table import Column, Figure, Line, Table, figure

ALONE = ("measured",)
OTHER = "other"


def modalities(inputs: Inputs) -> Table:
    """Table 1: images of each modality, by their curated concepts, in all splits."""
    splits = {split: inputs.prepared["splits"][split]["modalities"] for split in layout.SPLITS}
    printed = inputs.study["table1_modalities"]
    names = [name for name in printed if name != OTHER]
    rest = sorted({name for counts in splits.values() for name in counts} - set(names))
    whole = sum(count for counts in splits.values() for count in counts.values())
    lines = []
    for name in (*names, OTHER):
        parts = rest if name == OTHER else [name]
        counts = {split: sum(counts_of.get(part, 0) for part in parts) for split, counts_of in splits.items()}
        total = sum(counts.values())
        figures = {
            "images": figure(total, printed[name]["count"], comparable=inputs.comparable),
            "percent": figure(round(100 * total / whole, 1), printed[name]["percent"], comparable=inputs.comparable),
        }
        lines.append(Line((name,), {split: Figure(count) for split, count in counts.items()} | figures))
    shares = {part: sum(counts_of.get(part, 0) for counts_of in splits.values()) for part in rest}
    return Table(
        name="table1",
        title="Table 1. Modalities of the images",
        heads={"modality": "Modality"},
        columns=(
            *(Column(split, split, 0, ALONE) for split in layout.SPLITS),
            Column("images", "images", 0),
            Column("percent", "%", 1),
        ),
        lines=tuple(lines),
        comparable=inputs.comparable,
        notes=(f"other: {', '.join(f'{name} {count:,}' for name, count in shares.items()) or 'none'}.",),
    )


def models(inputs: Inputs) -> Table:
    """Table 2: parameters of each model, as trained here and at full size, beside the printed ones."""
    lines = []
    for key in inputs.models:
        audit, printed = inputs.audits[key], inputs.study["table2_models"].get(key, {})
        counts = {name: part["total"] for name, part in audit["components"].items()}
        sizes = {name: counts.pop(name, 0) for name in ("vision", "connector")}
        counted = inputs.plan["models"].get(key, {}).get("total")
        figures = {
            **{name: Figure(size) for name, size in sizes.items()},
            "language": Figure(sum(counts.values())),
            "params": figure(audit["total"], printed.get("params"), comparable=inputs.comparable),
            "full_size": figure(counted, printed.get("params"), comparable=True),
            **{f"study_{name}": Figure(published=printed.get(name)) for name in ("encoder", "connector", "decoder")},
        }
        lines.append(Line((key,), figures, inputs.group(key)))
    text = ("published",)
    return Table(
        name="table2",
        title="Table 2. Models and sizes, parameters",
        heads={"model": "Model"},
        columns=(
            Column("vision", "vision", 0, ALONE),
            Column("connector", "connector", 0, ALONE),
            Column("language", "language model", 0, ALONE),
            Column("params", "all", 0),
            Column("full_size", "counted at full size", 0, ("measured", "difference")),
            Column("study_encoder", "encoder", None, text),
            Column("study_connector", "connector", None, text),
            Column("study_decoder", "decoder", None, text),
        ),
        lines=tuple(lines),
        comparable=inputs.comparable,
        notes=("The language model includes embeddings and head. The difference at full size is to the printed size.",),
    )


def adapters(inputs: Inputs) -> Table:
    """Table 3: what trained of each model."""
    lines = []
    for key in inputs.models:
        audit, printed = inputs.audits[key], inputs.study["table3_adapters"].get(key, {})
        figures = {
            "trained": figure(audit["trained"], printed.get("trained"), comparable=inputs.comparable),
            "percent": figure(audit["percent"], printed.get("percent"), comparable=inputs.comparable),
            "r": Figure(audit["r"]),
            "alpha": Figure(audit["alpha"]),
            "scaling": figure(audit["scaling"], printed.get("scaling"), comparable=inputs.comparable),
            "targets": Figure(audit["variant"], printed.get("targets")),
        }
        lines.append(Line((key,), figures, inputs.group(key)))
    return Table(
        name="table3",
        title="Table 3. Adapters: trained parameters, their share of the model, scaling (alpha / r), targets",
        heads={"model": "Model"},
        columns=(
            Column("trained", "trained", 0),
            Column("percent", "%", 2),
            Column("r", "r", 0, ALONE),
            Column("alpha", "alpha", 0, ALONE),
            Column("scaling", "scaling", 2),
            Column("targets", "targets", None, ("measured", "published")),
        ),
        lines=tuple(lines),
        comparable=inputs.comparable,
    )
