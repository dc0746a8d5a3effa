"""Per-caption scores of all models and variants under one protocol, side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from radcap.errors import UserError
from radcap.metrics.protocols import FACTUALITY, METRICS, PROTOCOLS

Array = npt.NDArray[np.float64]
PLAIN = "plain"


@dataclass(frozen=True)
class Scores:
    """`values`: {(model, variant): (captions, columns)}. A metric that some variant lacks is no column, and an
    aggregate with such a part is none either. `words` of each reference, as ROUGE-1 counts them."""

    ids: list[str]
    words: list[int]
    columns: tuple[str, ...]
    values: Mapping[tuple[str, str], Array]

    @property
    def models(self) -> list[str]:
        return list(dict.fromkeys(model for model, _ in self.values))

    def column(self, model: str, name: str, *, variant: str = PLAIN) -> Array:
        values: Array = self.values[model, variant][:, self.columns.index(name)]
        return values


def read(folders: Mapping[str, Path], protocol: str) -> Scores:
    """Every `<variant>.parquet` of {model: folder}. UserError: no such file, or ids that differ between models."""
    tables: dict[tuple[str, str], Any] = {}
    for model, folder in folders.items():
        if not (folder / f"{PLAIN}.parquet").exists():
            raise UserError(f"{folder / PLAIN}.parquet not found; `dvc repro score@{model}` makes it")
        for path in sorted(folder.glob("*.parquet")):
            tables[model, path.stem] = table(path, protocol)
    return beside(tables, protocol)


def table(source: Any, protocol: str) -> Any:
    """The columns that reports need of one Parquet file (a path or an open file), as an Arrow table."""
    import pyarrow.parquet as pq

    names = [f"{protocol}/{metric}" for metric in METRICS]
    return pq.read_table(source, columns=["id", "reference_tokens", *names])


def beside(tables: Mapping[tuple[str, str], Any], protocol: str) -> Scores:
    """Scores of tables that hold the same captions in the same order."""
    first = next(iter(tables.values()))
    ids = first["id"].to_pylist()
    for (model, variant), other in tables.items():
        if other["id"].to_pylist() != ids:
            raise UserError(f"scores of {model} ({variant}): ids differ from the others'; `dvc repro score@{model}`")
    scored = [
        metric for metric in METRICS if not any(other[f"{protocol}/{metric}"].null_count for other in tables.values())
    ]
    measured = {
        key: {metric: other[f"{protocol}/{metric}"].to_numpy() for metric in scored} for key, other in tables.items()
    }
    columns = tuple(with_aggregates(next(iter(measured.values())), protocol))
    values = {
        key: np.column_stack(list(with_aggregates(metrics, protocol).values())) for key, metrics in measured.items()
    }
    return Scores(ids, first["reference_tokens"].to_pylist(), columns, values)


def with_aggregates(metrics: Mapping[str, Array], protocol: str) -> dict[str, Array]:
    """Metrics with relevance, factuality and overall of each caption, whose means are those of the means."""
    aggregates = dict(metrics)
    for name, parts in (
        ("relevance", PROTOCOLS[protocol].relevance),
        ("factuality", FACTUALITY),
        ("overall", ("relevance", "factuality")),
    ):
        if all(part in aggregates for part in parts):
            aggregates[name] = mean([aggregates[part] for part in parts])
    return aggregates


def mean(parts: Sequence[Array]) -> Array:
    average: Array = np.mean(parts, axis=0)
    return average


def known(names: Iterable[str], scores: Scores) -> list[str]:
    """Those of the names that are columns."""
    return [name for name in names if name in scores.columns]
