"""Predictions of a split: a Parquet file, its reader, and what the confusion matrix is drawn from."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from radcap import files
from radcap.errors import UserError
from radcap.modality.classes import CLASSES

Probabilities = np.ndarray[Any, np.dtype[np.float64]]
# A class and its probability; both None where nothing was trained.
Prediction = tuple[str | None, float | None]


def most_likely(shares: Probabilities) -> list[tuple[str, float]]:
    """The likeliest class of each row of (n, classes) probabilities, and its probability; of equals the first."""
    return [(CLASSES[row.argmax()], float(row.max())) for row in shares]


@dataclass(frozen=True)
class Predictions:
    """`labels`: the classes by the rules. `shares`: (n, classes) probabilities, None where nothing was trained."""

    ids: Sequence[str]
    labels: Sequence[str | None]
    shares: Probabilities | None

    @cached_property
    def predicted(self) -> Sequence[Prediction]:
        return [(None, None)] * len(self.ids) if self.shares is None else most_likely(self.shares)

    def write(self, path: Path) -> None:
        """Columns id, label, predicted, probability, p/<class> of each class. The same rows give the same bytes."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        text, number = pa.string(), pa.float64()
        predicted, probability = zip(*self.predicted, strict=True)
        columns = {
            "id": pa.array(self.ids, text),
            "label": pa.array(self.labels, text),
            "predicted": pa.array(predicted, text),
            "probability": pa.array(probability, number),
        }
        for index, name in enumerate(CLASSES):
            each = pa.nulls(len(self.ids), number) if self.shares is None else pa.array(self.shares[:, index], number)
            columns[f"p/{name}"] = each
        with files.atomic_file(path) as beside:
            pq.write_table(pa.table(columns), beside)

    def confusion(self) -> str:
        """CSV with the columns actual and predicted, a line for each row that has both."""
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(["actual", "predicted"])
        pairs = zip(self.labels, self.predicted, strict=True)
        writer.writerows([label, predicted] for label, (predicted, _) in pairs if label and predicted)
        return buffer.getvalue()


def read_predictions(path: Path) -> dict[str, Prediction]:
    """{id: (predicted class, its probability)}, both None where nothing was trained. UserError: no such file."""
    import pyarrow.parquet as pq

    if not path.exists():
        raise UserError(f"{path} not found; `dvc repro modality` makes it")
    table = pq.read_table(path, columns=["id", "predicted", "probability"]).to_pydict()
    predicted = zip(table["predicted"], table["probability"], strict=True)
    return dict(zip(table["id"], predicted, strict=True))
