"""Scores of one model as files: per caption in Parquet, means in metrics/<model>.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from radcap import files
from radcap.metrics.protocols import METRICS, Protocol, aggregates

# Decimals of every published mean: what `dvc metrics diff` compares.
PLACES = 4


def means(scores: Mapping[str, Sequence[float]], protocol: Protocol) -> dict[str, float | int | None]:
    """Plain means over captions, rounded; then relevance, factuality, overall, and n.

    None stands for a metric that was not scored, and for an aggregate without all its parts.
    """
    scored = {name: sum(values) / len(values) for name, values in scores.items()}
    plain = {name: scored.get(name) for name in METRICS}
    both: dict[str, float | None] = {**plain, **aggregates(plain, protocol)}
    counts = {len(values) for values in scores.values()}
    assert len(counts) == 1, f"metrics disagree on the number of captions: {counts}"
    return {name: None if value is None else round(value, PLACES) for name, value in both.items()} | {"n": counts.pop()}


def write_per_caption(path: Path, columns: Mapping[str, Sequence[Any]]) -> None:
    """One row per caption. The same columns give the same bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with files.whole_file(path) as beside:
        pq.write_table(pa.table({name: list(values) for name, values in columns.items()}), beside)
