"""What the scorers computed for a set of captions, before a protocol is applied: scores, means, and a table of rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from radcap import files
from radcap.metrics.protocols import METRICS, PROTOCOLS, Scores, apply_protocol, means
from radcap.metrics.rouge1 import word_counts


@dataclass
class RawScores:
    """The results of all scorers for one set of captions.

    `missing`: {metric: why it was not scored}. `values`: {score: one value per caption}, named as by
    Protocol.score_name. `concepts`: {side/list: CUIs per caption}. `truncated`: {metric: number of captions that its
    model truncated}. `images`: how many images are missing, unreadable or converted.
    """

    candidates: list[str]
    references: list[str]
    missing: Mapping[str, str] = field(default_factory=dict)
    values: dict[str, list[Any]] = field(default_factory=dict)
    concepts: dict[str, list[tuple[str, ...]]] = field(default_factory=dict)
    truncated: dict[str, int] = field(default_factory=dict)
    images: dict[str, int] = field(default_factory=dict)

    def scores(self, protocol: str) -> Scores:
        """{metric: one float per caption} under a protocol. Metrics that were not scored are absent."""
        return apply_protocol(PROTOCOLS[protocol], self.values, self.candidates, self.references)

    def means(self, protocol: str) -> dict[str, float | int | None]:
        """The means over all captions, the protocol's aggregates, and n."""
        return means(self.scores(protocol), PROTOCOLS[protocol], n=len(self.candidates))

    def columns(self, ids: Sequence[str]) -> dict[str, list[Any]]:
        """The columns of a table with one row per caption.

        They are: id, the number of words on both sides as ROUGE-1 counts them, the CUIs, and `<protocol>/<metric>`,
        which is None for a metric that was not scored.
        """
        word_count = cache(lambda text: word_counts(text).total())
        columns: dict[str, list[Any]] = {
            "id": list(ids),
            "candidate_tokens": [word_count(text) for text in self.candidates],
            "reference_tokens": [word_count(text) for text in self.references],
            **self.concepts,
        }
        for name in PROTOCOLS:
            scores = self.scores(name)
            for metric in METRICS:
                columns[f"{name}/{metric}"] = scores.get(metric) or [None] * len(ids)
        return columns

    def record(self) -> dict[str, Any]:
        """The means under every protocol, and how many captions were truncated and images missing or converted."""
        return {
            "means": {name: self.means(name) for name in PROTOCOLS},
            "truncated": self.truncated,
            "images": self.images,
        }

    def remarks(self) -> list[str]:
        """What a reader of the means should know, in one line each."""
        n = len(self.candidates)
        remarks = [
            f"{name} truncated {count} of {n} captions, which are too long for its model"
            for name, count in self.truncated.items()
            if count
        ]
        for state in ("missing", "unreadable"):
            if count := self.images.get(state):
                remarks.append(f"{count} of {n} images are {state}; their similarity is 0")
        return remarks


def write_per_caption(path: Path, columns: Mapping[str, Sequence[Any]]) -> None:
    """Write one row per caption as Parquet. The same columns give the same bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    def column_type(name: str) -> Any:
        """Explicit, so that a column without any score or concept has the same type in every file."""
        if "cuis/" in name:
            return pa.list_(pa.string())
        return pa.float64() if "/" in name else None

    arrays = {name: pa.array(list(values), column_type(name)) for name, values in columns.items()}
    with files.atomic_file(path) as unfinished:
        pq.write_table(pa.table(arrays), unfinished)
