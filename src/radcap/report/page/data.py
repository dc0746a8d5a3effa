"""The gallery as JSON that the page's script reads: columns, each text once, scores as whole ten-thousandths.

One block per run, which the script parses when it needs it; the block `examples` names them all.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from radcap.report.page.content import Gallery, Run
from radcap.report.page.images import Placed

SCALE = 10_000
# In HTML a script ends at </script and changes its parsing at <!--; in JSON these characters stand only in strings.
_ESCAPES = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})


def block(name: str, value: Any) -> str:
    """A script element that holds JSON and does not run; ASCII alone, whatever a caption holds."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False).translate(_ESCAPES)
    return f'<script type="application/json" id="{name}">{text}</script>\n'


def blocks(gallery: Gallery, placed: Placed) -> Iterator[str]:
    """Blocks `run-0`, `run-1`, ..., then `images`, then `examples`. ValueError where a column's length differs."""
    concepts = _Index()
    runs = []
    for number, run in enumerate(gallery.runs):
        _check(f"{run.model}/{run.variant}", len(gallery.ids), _columns(run))
        yield block(f"run-{number}", _run(run, concepts))
        runs.append({"model": run.model, "variant": run.variant, "metrics": list(run.scores), "cut": sum(run.cut)})
    columns = [gallery.references, gallery.modality, gallery.predicted, gallery.concepts, placed.sources]
    _check("gallery", len(gallery.ids), columns)
    yield block("images", placed.sources)
    references = [[concepts.of(cui) for cui in found] for found in gallery.concepts]
    yield block(
        "examples",
        {
            "scale": SCALE,
            "ids": list(gallery.ids),
            "references": list(gallery.references),
            "modality": _deduplicated(gallery.modality),
            "predicted": _deduplicated([label for label, _ in gallery.predicted]),
            "probability": [_scaled(probability) for _, probability in gallery.predicted],
            "concepts": references,
            "sizes": placed.sizes,
            "runs": runs,
            "cuis": [[cui, gallery.names.get(cui, "")] for cui in concepts],
        },
    )


def _run(run: Run, concepts: _Index) -> dict[str, Any]:
    found = None if run.concepts is None else [[concepts.of(cui) for cui in cuis] for cuis in run.concepts]
    return {
        **_deduplicated(run.captions),
        "cut": [number for number, is_cut in enumerate(run.cut) if is_cut],
        "scores": {metric: [_scaled(value) for value in column] for metric, column in run.scores.items()},
        "concepts": found,
    }


class _Index(dict[str, int]):
    """Numbers given to texts in the order of their first use."""

    def of(self, text: str) -> int:
        return self.setdefault(text, len(self))


def _deduplicated(texts: Sequence[str]) -> dict[str, list[Any]]:
    known = _Index()
    places = [known.of(text) for text in texts]
    return {"texts": list(known), "at": places}


def _scaled(value: float | None) -> int | None:
    return None if value is None else round(value * SCALE)


def _columns(run: Run) -> list[Sequence[Any]]:
    return [run.captions, run.cut, run.concepts or (), *run.scores.values()]


def _check(name: str, count: int, columns: Sequence[Sequence[Any]]) -> None:
    for column in columns:
        if len(column) not in (0, count):
            raise ValueError(f"{name}: a column has {len(column)} entries for {count} ids")
