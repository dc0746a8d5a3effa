"""The training log: one row per report of the Trainer, written as CSV."""

from __future__ import annotations

import csv
import io
from pathlib import Path

COLUMNS = ("step", "epoch", "loss", "learning_rate", "grad_norm", "valid_loss", "valid_rouge1", "trainable")


def as_csv(rows: list[dict[str, float]]) -> str:
    """The log as CSV: a cell is empty where a row lacks the value, and columns without any value are left out."""
    buffer = io.StringIO()
    columns = [name for name in COLUMNS if any(name in row for row in rows)]
    writer = csv.DictWriter(buffer, columns, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def read_log(path: Path) -> list[dict[str, float]]:
    """The rows of a log that `as_csv` wrote, without empty cells."""
    with path.open(encoding="utf-8", newline="") as stream:
        return [{name: float(cell) for name, cell in row.items() if cell} for row in csv.DictReader(stream)]
