"""Phantoms on disk, laid out like ROCOv2 with its quirks, plus each row's truth in `{split}_facts.csv`."""

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from radcap.data.phantoms import lexicon
from radcap.data.phantoms.atlas import REGIONS, SHARES
from radcap.data.phantoms.captions import caption
from radcap.data.phantoms.case import Case, concepts, sample_case
from radcap.data.phantoms.draw import draw
from radcap.data.phantoms.quirks import add_concept_quirks, add_text_quirks, caption_source

SPLITS = ("train", "valid", "test")
# Picture kinds (suffix, PIL mode) and their shares; the rows after the first 50 follow chance.
KINDS = ((".png", "L"), (".png", "RGB"), (".png", "P"), (".jpg", "L"))
KIND_SHARES = (0.8, 0.08, 0.06, 0.06)
SURE_KINDS = {13: 1, 19: 2, 41: 3}


class Row(NamedTuple):
    """One phantom as the files hold it."""

    id: str
    case: Case
    caption: str
    cuis: list[str]
    manual: list[str]


def write_dataset(folder: Path, *, counts: Mapping[str, int], seed: int) -> None:
    """Write `counts[split]` rows per split into `folder`; the same arguments give the same bytes.

    A row depends on (seed, split, index) alone: a bigger split starts with the same rows.
    """
    unknown = sorted(set(counts) - set(SPLITS))
    if unknown:
        raise ValueError(f"counts: {unknown[0]!r} is not one of {', '.join(SPLITS)}")
    folder.mkdir(parents=True, exist_ok=True)
    licences: list[tuple[str, ...]] = []
    for split in (name for name in SPLITS if name in counts):
        (folder / split).mkdir(exist_ok=True)
        rows = [_row(folder, split, index, seed=seed) for index in range(counts[split])]
        _write_split(folder, split, rows)
        licences += [(row.id, f"PHANTOM{row.id[-6:]}", "Drawn by radcap", "") for row in rows]
    _csv(folder / "license_information.csv", ("ID", "PMCID", "Attribution", "Link"), licences)
    names = [(concept.cui, concept.name) for concept in lexicon.load()]
    _csv(folder / "cui_mapping.csv", ("CUI", "Canonical name"), names)


def row_id(split: str, index: int) -> str:
    """The id of a row; as in ROCOv2 the numbers have gaps."""
    return f"PHANTOM_{split}_{1 + index + index // 7:06d}"


def _row(folder: Path, split: str, index: int, *, seed: int) -> Row:
    rng = _rng(seed, split, index)
    source = caption_source(index)
    origin = rng if source == index else _rng(seed, split, source)
    case = sample_case(origin)
    clean = caption(case, origin)
    text = add_text_quirks(clean, case, rng, index=index, split=split)
    _save(draw(case, rng), folder / split / row_id(split, index), rng, index=index)
    cuis = add_concept_quirks([concept.cui for concept in concepts(case)], case, index=index)
    return Row(row_id(split, index), case, text, cuis, _curated(cuis, case))


def _rng(seed: int, split: str, index: int) -> np.random.Generator:
    return np.random.default_rng([seed, SPLITS.index(split), index])


def _curated(cuis: list[str], case: Case) -> list[str]:
    """The concepts that ROCOv2's curators mark: modality and, on X-rays, body region; none without modality."""
    modalities = [cui for cui in cuis if cui in {lexicon.find(name).cui for name in SHARES}]
    if not modalities or case.modality != "x-ray" or case.anatomy not in REGIONS:
        return modalities
    return [*modalities, lexicon.find(case.anatomy).cui]


def _save(pixels: NDArray[np.uint8], stem: Path, rng: np.random.Generator, *, index: int) -> None:
    kind = SURE_KINDS.get(index, int(rng.choice(len(KINDS), p=KIND_SHARES)))
    suffix, mode = KINDS[kind]
    image = Image.fromarray(pixels)
    if mode == "P":
        image = image.quantize(128)
    elif mode != "L":
        image = image.convert(mode)
    # Each format reads its own option and ignores the other's.
    image.save(stem.with_suffix(suffix), quality=92, compress_level=3)


def _write_split(folder: Path, split: str, rows: list[Row]) -> None:
    _csv(folder / f"{split}_captions.csv", ("ID", "Caption"), ((row.id, row.caption) for row in rows))
    _csv(folder / f"{split}_concepts.csv", ("ID", "CUIs"), ((row.id, ";".join(row.cuis)) for row in rows))
    _csv(
        folder / f"{split}_concepts_manual.csv",
        ("ID", "CUIs"),
        ((row.id, ";".join(row.manual)) for row in rows),
    )
    facts = ("modality", "anatomy", "finding", "side", "size_mm")
    truth = (
        (row.id, *("" if (fact := getattr(row.case, name)) is None else str(fact) for name in facts)) for row in rows
    )
    _csv(folder / f"{split}_facts.csv", ("ID", *facts), truth)


def _csv(path: Path, header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
