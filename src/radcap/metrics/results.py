"""Scores of one model as files: per caption in Parquet, means in metrics/<model>.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from radcap import files
from radcap.metrics.protocols import METRICS, Protocol, aggregates

# Decimals of every published mean: what `dvc metrics diff` compares.
PLACES = 4


def means(scores: Mapping[str, Sequence[float]], protocol: Protocol, *, n: int) -> dict[str, float | int | None]:
    """Plain means over n captions, rounded; then relevance, factuality, overall, and n.

    None stands for a metric that was not scored, and for an aggregate without all its parts.
    """
    assert {len(values) for values in scores.values()} <= {n}, "metrics disagree on the number of captions"
    plain = {name: sum(scores[name]) / n if name in scores else None for name in METRICS}
    both: dict[str, float | None] = {**plain, **aggregates(plain, protocol)}
    return {name: None if value is None else round(value, PLACES) for name, value in both.items()} | {"n": n}


def write_per_caption(path: Path, columns: Mapping[str, Sequence[Any]]) -> None:
    """One row per caption. The same columns give the same bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    def kind(name: str) -> Any:
        """Said, not inferred: a column in which nothing was scored or found has the same type in every file."""
        if "cuis/" in name:
            return pa.list_(pa.string())
        return pa.float64() if "/" in name else None

    arrays = {name: pa.array(list(values), kind(name)) for name, values in columns.items()}
    with files.atomic_file(path) as beside:
        pq.write_table(pa.table(arrays), beside)
