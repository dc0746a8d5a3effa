"""What the scorers found of a set of captions, before a protocol counts it; its means, and its rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from radcap.metrics.protocols import METRICS, PROTOCOLS, Scores, apply
from radcap.metrics.results import means
from radcap.metrics.rouge1 import words


@dataclass
class Measured:
    """`values`: {measure: one value per caption}, see Protocol.measure. `concepts`: {side/list: CUIs per caption}.
    `missing`: {metric: why it was not scored}. `truncated`: {metric: captions that its model cut}. `images`: how many
    are missing, unreadable or converted."""

    candidates: list[str]
    references: list[str]
    missing: Mapping[str, str] = field(default_factory=dict)
    values: dict[str, list[Any]] = field(default_factory=dict)
    concepts: dict[str, list[tuple[str, ...]]] = field(default_factory=dict)
    truncated: dict[str, int] = field(default_factory=dict)
    images: dict[str, int] = field(default_factory=dict)

    def scores(self, protocol: str) -> Scores:
        """{metric: one float per caption} under a protocol's rules; metrics that were not scored are absent."""
        return apply(PROTOCOLS[protocol], self.values, self.candidates, self.references)

    def means(self, protocol: str) -> dict[str, float | int | None]:
        """Means over captions, the protocol's aggregates, and n."""
        return means(self.scores(protocol), PROTOCOLS[protocol], n=len(self.candidates))

    def columns(self, ids: Sequence[str]) -> dict[str, list[Any]]:
        """Rows of a table: id, words of both sides as ROUGE-1 counts them, CUIs found, `<protocol>/<metric>`.

        None where a metric was not scored.
        """
        count = cache(lambda text: words(text).total())
        found: dict[str, list[Any]] = {
            "id": list(ids),
            "candidate_tokens": [count(text) for text in self.candidates],
            "reference_tokens": [count(text) for text in self.references],
            **self.concepts,
        }
        for name in PROTOCOLS:
            scores = self.scores(name)
            for metric in METRICS:
                found[f"{name}/{metric}"] = scores.get(metric) or [None] * len(ids)
        return found

    def record(self) -> dict[str, Any]:
        """{protocol: means}, and what was cut, missing or converted on the way."""
        return {
            "means": {name: self.means(name) for name in PROTOCOLS},
            "truncated": self.truncated,
            "images": self.images,
        }

    def remarks(self) -> list[str]:
        """What a reader of the means should know, a line each."""
        n = len(self.candidates)
        found = [
            f"{name} cut {count} of {n} captions, too long for its model"
            for name, count in self.truncated.items()
            if count
        ]
        for what in ("missing", "unreadable"):
            if count := self.images.get(what):
                found.append(f"{count} of {n} images are {what}; their similarity is 0")
        return found
