"""Tables 6 and following: one image each, with its reference and every model's captions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from radcap.report.scores import PLAIN, Scores, known
from radcap.report.tables.comparison import COLUMNS as HEADINGS
from radcap.report.tables.inputs import Inputs
from radcap.report.tables.table import Column, Figure, Line, Table

SHOWN = ("relevance", "factuality", "overall")


@dataclass(frozen=True)
class Texts:
    """The test split in words: `references` and `modalities` in its order, `captions` by (model, variant)."""

    references: Sequence[str]
    modalities: Sequence[str]
    captions: Mapping[tuple[str, str], Sequence[str]]


def examples(inputs: Inputs, scores: Scores, texts: Texts, *, count: int) -> list[Table]:
    """Tables 6, 7, ..."""
    positions = choose(scores, count)
    return [_table(inputs, scores, texts, at, number) for number, at in enumerate(positions, start=6)]


def choose(scores: Scores, count: int) -> list[int]:
    """Images spread evenly from hard to easy by the mean score over models, none picked by hand.

    Of n images in that order, the ones at (k + 1/2) / count of it; of equals the first in the split comes first.
    """
    column = scores.columns[-1]
    ease = np.mean([scores.column(model, column) for model in scores.models], axis=0)
    order = np.argsort(ease, kind="stable")
    count = min(count, len(order))
    places = [int((k + 0.5) * len(order) / count) for k in range(count)]
    return [int(order[place]) for place in places]


def _table(inputs: Inputs, scores: Scores, texts: Texts, at: int, number: int) -> Table:
    columns = known(SHOWN, scores)
    lines = [Line(("reference", ""), {"caption": Figure(texts.references[at])})]
    for key in inputs.models:
        for variant in (PLAIN, "modality"):
            if (key, variant) not in texts.captions:
                continue
            means = {name: round(float(scores.column(key, name, variant=variant)[at]), 4) for name in columns}
            figures = {name: Figure(value) for name, value in means.items()}
            lines.append(Line((key, variant), {"caption": Figure(texts.captions[key, variant][at])} | figures))
    alone = ("measured",)
    return Table(
        name=f"table{number}",
        title=f"Table {number}. Captions of image {scores.ids[at]} ({texts.modalities[at]})",
        heads={"model": "Model", "prompt": "Prompt"},
        columns=(
            Column("caption", "Caption", None, alone),
            *(Column(name, HEADINGS[name], 3, alone) for name in columns),
        ),
        lines=tuple(lines),
        comparable=inputs.comparable,
        notes=(
            "Images are spread evenly from hard to easy by the mean score over models; scores are of this caption.",
        ),
    )
