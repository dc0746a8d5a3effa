"""What `dvc plots` draws, as CSV, and the same as pictures for people without DVC.

The pictures' bytes repeat: SVG's ids come of a fixed salt, and no file holds a date.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from radcap import files
from radcap.modality.classes import CLASSES
from radcap.report.tables.comparison import COLUMNS
from radcap.report.tables.inputs import Inputs

# By group of models, in the colours of Okabe & Ito (2008), which the colour-blind tell apart.
COLOURS = ("#0072B2", "#009E73", "#D55E00")
Rows = Sequence[Mapping[str, Any]]
Drawing = Callable[[Any, Rows, "Look"], None]


class Look:
    """What the drawings need besides their rows: the aggregate that is shown, and each model's colours."""

    def __init__(self, inputs: Inputs, quality: str) -> None:
        groups = list(dict.fromkeys(inputs.group(key) for key in inputs.models))
        self.label = COLUMNS[quality]
        self.colour = {key: COLOURS[groups.index(inputs.group(key)) % len(COLOURS)] for key in inputs.models}
        self.line = {key: f"C{number % 10}" for number, key in enumerate(inputs.models)}


def overall(inputs: Inputs, quality: str) -> list[dict[str, Any]]:
    """A row per model."""
    return [{"model": key, "figure": quality, "quality": inputs.metrics[key].get(quality)} for key in inputs.models]


def parameters(inputs: Inputs, quality: str) -> list[dict[str, Any]]:
    """A row per model: its size, what trained of it, and its quality."""
    return [
        {
            "model": key,
            "parameters": inputs.audits[key]["total"],
            "trained": inputs.audits[key]["trained"],
            "percent": inputs.audits[key]["percent"],
            "figure": quality,
            "quality": inputs.metrics[key].get(quality),
        }
        for key in inputs.models
    ]


def loss(logs: Mapping[str, Rows]) -> list[dict[str, Any]]:
    """A row per model and report of its training log."""
    return [
        {"model": key, **{name: row[name] for name in ("step", "epoch", "loss", "valid_loss") if name in row}}
        for key, log in logs.items()
        for row in log
    ]


def complexity(by: Mapping[str, Rows], quality: str) -> list[dict[str, Any]]:
    """A row per measure of complexity, bin and model."""
    return [
        {"by": name, "bin": row["group"], "n": row["n"], "model": model, "figure": quality, "quality": found[quality]}
        for name, rows in by.items()
        for row in rows
        for model, found in row["models"].items()
        if quality in found
    ]


def confusion(path: Path) -> list[dict[str, str]]:
    """A row per image of the test split: its modality, and the classifier's; none where no classifier was trained."""
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def as_csv(rows: Rows) -> str:
    """Empty cells where a row has no such figure."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: "" if value is None else value for name, value in row.items()} for row in rows)
    return buffer.getvalue()


def draw(folder: Path, data: Mapping[str, Rows], look: Look) -> None:
    """One SVG and one PNG per plot; an older folder goes."""
    import matplotlib

    matplotlib.use("agg")
    style: Any = {"svg.hashsalt": "radcap", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
    with matplotlib.rc_context(style), files.atomic_folder(folder) as out:
        for name, rows in data.items():
            figure = _figure(DRAWINGS[name], rows, look)
            figure.savefig(out / f"{name}.svg", metadata={"Date": None})
            figure.savefig(out / f"{name}.png", dpi=100, metadata={"Software": None})


def _figure(drawing: Drawing, rows: Rows, look: Look) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    drawing(figure, rows, look)
    return figure


def _overall(figure: Any, rows: Rows, look: Look) -> None:
    axes = figure.subplots()
    known = sorted((row for row in rows if row["quality"] is not None), key=lambda row: float(row["quality"]))
    names = [row["model"] for row in known]
    bars = axes.barh(names, [row["quality"] for row in known], color=[look.colour[name] for name in names])
    axes.bar_label(bars, fmt="%.3f", padding=3)
    axes.set_xlabel(look.label)


def _parameters(figure: Any, rows: Rows, look: Look) -> None:
    sides = figure.subplots(1, 2, sharey=True)
    for axes, cause, label in zip(sides, ("parameters", "percent"), ("parameters", "trained, %"), strict=True):
        for row in rows:
            if row["quality"] is not None:
                axes.scatter(row[cause], row["quality"], color=look.colour[row["model"]])
                at = (row[cause], row["quality"])
                axes.annotate(row["model"], at, xytext=(4, 3), textcoords="offset points", size=7)
        axes.set_xscale("log")
        axes.set_xlabel(label)
    sides[0].set_ylabel(look.label)


def _loss(figure: Any, rows: Rows, look: Look) -> None:
    axes = figure.subplots()
    for model, log in _by(rows, "model"):
        known = [row for row in log if "loss" in row]
        at, values = [row["step"] for row in known], [row["loss"] for row in known]
        axes.plot(at, values, color=look.line[model], label=model, linewidth=1)
    axes.set_xlabel("step")
    axes.set_ylabel("training loss")
    axes.legend(fontsize=7, ncols=2)


def _complexity(figure: Any, rows: Rows, look: Look) -> None:
    measures = _by(rows, "by")
    for axes, (name, part) in zip(figure.subplots(1, max(len(measures), 1), squeeze=False)[0], measures, strict=False):
        for model, line in _by(part, "model"):
            known = [row for row in line if row["quality"] is not None]
            at, values = [row["bin"] for row in known], [row["quality"] for row in known]
            axes.plot(at, values, color=look.line[model], marker="o", label=model)
        axes.set_xlabel(f"{name} of the reference")
        axes.set_ylabel(look.label)
    if measures:
        figure.legend(*axes.get_legend_handles_labels(), loc="outside right", fontsize=7)


def _confusion(figure: Any, rows: Rows, _: Look) -> None:
    names = [name for name in CLASSES if any(name in (row["actual"], row["predicted"]) for row in rows)]
    counts = Counter((row["actual"], row["predicted"]) for row in rows)
    whole = Counter(row["actual"] for row in rows)
    # Coloured by the share of the actual modality, so that a rare one shows as well.
    shares = [[counts[actual, predicted] / max(whole[actual], 1) for predicted in names] for actual in names]
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for line, actual in enumerate(names):
        for column, predicted in enumerate(names):
            if count := counts[actual, predicted]:
                color = "white" if shares[line][column] > 0.5 else "black"
                axes.text(column, line, count, ha="center", va="center", color=color)
    axes.set_xticks(range(len(names)), names, rotation=30, ha="right")
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("predicted modality")
    axes.set_ylabel("modality")


def _by(rows: Rows, name: str) -> list[tuple[str, list[Mapping[str, Any]]]]:
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row[name], []).append(row)
    return list(groups.items())


DRAWINGS: dict[str, Drawing] = {
    "overall": _overall,
    "parameters": _parameters,
    "loss": _loss,
    "complexity": _complexity,
    "confusion": _confusion,
}


def write(folder: Path, data: Mapping[str, Rows]) -> None:
    """{name}.csv of each plot, beside those of other stages."""
    for name, rows in data.items():
        files.write_text(folder / f"{name}.csv", as_csv(rows))
