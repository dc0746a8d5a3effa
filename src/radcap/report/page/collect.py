"""The page of the pipeline's own files: its reports, and the test split with captions and scores of every model.

What is not there is not shown, and told on the page.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from radcap import layout
from radcap.caption import records
from radcap.data import store
from radcap.data.phantoms import lexicon
from radcap.errors import UserError
from radcap.metrics.protocols import METRICS, PROTOCOLS, aggregates
from radcap.report.page import markdown
from radcap.report.page.content import Gallery, Picture, Run, Section
from radcap.report.page.write import Written, write
from radcap.report.tables.comparison import COLUMNS, NOTE
from radcap.settings import Settings

MIB = 2**20
# The lexicon's semantic type of modalities: Diagnostic Procedure.
_PROCEDURE = "T060"


def page(params: Settings, out: Path) -> Written:
    """Write the page of what lies in the workspace, and a folder `images` beside it, empty unless the page's are too
    many. UserError where no test split is prepared."""
    written = write(
        out,
        title="Radiology captioning: results",
        notes=[f"Not comparable. {NOTE}"] if params.active.weights == "miniature" else [],
        sections=sections(out.parent),
        gallery=gallery(params),
        image_limit_bytes=params.report.images.page * MIB,
        file_limit_bytes=params.report.images.beside * MIB,
    )
    (out.parent / "images").mkdir(exist_ok=True)
    return written


def sections(reports: Path) -> list[Section]:
    """Sections of summary.md, tables/*.md and the folder's other Markdown files; then plots that none of them shows."""
    others = {path for path in reports.glob("*.md") if path.name != "summary.md"}
    texts = [*reports.glob("summary.md"), *sorted(reports.glob("tables/*.md")), *sorted(others)]
    found = [section for path in texts for section in markdown.sections(path)]
    shown = {part.data for section in found for part in section.parts if isinstance(part, Picture)}
    # Of a plot in both formats the SVG, which comes last and scales.
    plots = {path.stem: path for kind in ("png", "svg") for path in sorted(reports.glob(f"plots/*.{kind}"))}
    pictures = [
        Picture(data=plots[name].read_bytes(), alt=f"Plot: {name}", caption=name.capitalize()) for name in sorted(plots)
    ]
    rest = [picture for picture in pictures if picture.data not in shown]
    return [*found, Section(heading="Plots", parts=rest)] if rest else found


def gallery(params: Settings) -> Gallery:
    """The test split; a run for each captions/<model>/<variant>.jsonl, with scores under the run's protocol."""
    test = store.read(layout.split("test"))
    ids = list(test["id"])
    protocol = params.score.protocol
    found = [
        (model, path) for model in params.models for path in sorted(layout.captions(model).glob("*.jsonl"), key=_rank)
    ]
    scored = {(model, path.stem): layout.scores(model) / f"{path.stem}.parquet" for model, path in found}
    modality, predicted = _modality(layout.predicted_modalities("test"), ids, test["cuis"])
    return Gallery(
        ids=ids,
        references=list(test["raw_caption"]),
        images=(row["image"] for row in test.select_columns(["image"])),
        modality=modality,
        predicted=predicted,
        concepts=_reference_concepts(scored.values(), ids, protocol),
        names=_names(params),
        runs=(_run(model, path, scored[model, path.stem], ids, protocol) for model, path in found),
        notes=_lacking(params, found, scored),
    )


def _rank(path: Path) -> tuple[bool, str]:
    """Plain captions first: those that the tables are about."""
    return path.stem != "plain", path.stem


def _lacking(params: Settings, found: Sequence[tuple[str, Path]], scored: Mapping[tuple[str, str], Path]) -> list[str]:
    without = [model for model in params.models if model not in {model for model, _ in found}]
    unscored = [f"{model} ({variant})" for (model, variant), path in scored.items() if not path.exists()]
    return [
        *([f"No captions of {', '.join(without)}."] if without else []),
        *([f"No scores of {', '.join(unscored)}."] if unscored else []),
    ]


def _run(model: str, path: Path, scored: Path, ids: Sequence[str], protocol: str) -> Run:
    captions = records.read_captions(path)
    if [caption.id for caption in captions] != ids:
        raise UserError(f"{path}: ids differ from the test split's; run `dvc repro generate@{model}`")
    scores, concepts = _scores(scored, ids, protocol) if scored.exists() else ({}, None)
    return Run(
        model=model,
        variant=path.stem,
        captions=[caption.caption for caption in captions],
        cut=[caption.finish == "length" for caption in captions],
        scores=scores,
        concepts=concepts,
    )


def _scores(path: Path, ids: Sequence[str], name: str) -> tuple[dict[str, list[float | None]], list[list[str]] | None]:
    """({metric or aggregate as tables name it: a value per caption}, CUIs per caption), without what was not scored."""
    protocol = PROTOCOLS[name]
    names = [f"{name}/{metric}" for metric in METRICS]
    columns = _columns(path, ids, [*names, f"candidate_cuis/{protocol.semantic_types}"])
    plain = {metric: columns[f"{name}/{metric}"] for metric in METRICS}
    each = [aggregates(dict(zip(plain, values, strict=True)), protocol) for values in zip(*plain.values(), strict=True)]
    both = {**{part: [row[part] for row in each] for part in ("overall", "relevance", "factuality")}, **plain}
    scores = {COLUMNS[metric]: values for metric, values in both.items() if any(value is not None for value in values)}
    return scores, columns.get(f"candidate_cuis/{protocol.semantic_types}")


def _reference_concepts(paths: Iterable[Path], ids: Sequence[str], protocol: str) -> list[list[str]]:
    """What was found in the references; the same in every table of scores, so the first is read."""
    column = f"reference_cuis/{PROTOCOLS[protocol].semantic_types}"
    for path in paths:
        if path.exists():
            return _columns(path, ids, [column]).get(column, [])
    return []


def _modality(
    path: Path, ids: Sequence[str], cuis: Iterable[Sequence[str]]
) -> tuple[list[str], list[tuple[str, float]]]:
    """Labels, and the classifier's; without its file, the first modality among each image's curated concepts."""
    if path.exists():
        columns = _columns(path, ids, ["label", "predicted", "probability"])
        # An image may have no label or several, and where no classifier was trained none is predicted.
        guesses = zip(columns["predicted"], columns["probability"], strict=True)
        predicted = [(label or "", probability or 0.0) for label, probability in guesses]
        return [label or "" for label in columns["label"]], predicted if any(columns["predicted"]) else []
    known = {concept.cui: concept.name for concept in lexicon.load() if _PROCEDURE in concept.types}
    return [next((known[cui] for cui in row if cui in known), "") for row in cuis], []


def _columns(path: Path, ids: Sequence[str], names: Sequence[str]) -> dict[str, list[Any]]:
    """Columns of a Parquet table whose column `id` must be the split's; those that it lacks are absent."""
    import pyarrow.parquet as pq

    there = set(pq.read_schema(path).names)
    table: dict[str, list[Any]] = pq.read_table(path, columns=["id", *(n for n in names if n in there)]).to_pydict()
    if table.pop("id") != ids:
        raise UserError(f"{path}: ids differ from the test split's; run `dvc repro`")
    return table


def _names(params: Settings) -> dict[str, str]:
    """{CUI: name} by the phantoms' lexicon, and by cui_mapping.csv of a folder in ROCOv2's layout."""
    names = {concept.cui: concept.name for concept in lexicon.load()}
    path = layout.main_workspace() / Path(params.active.data.path).expanduser() / "cui_mapping.csv"
    if params.active.data.source == "folder" and path.exists():
        with path.open(encoding="utf-8", newline="") as stream:
            names |= {row["CUI"]: row["Canonical name"] for row in csv.DictReader(stream)}
    return names
