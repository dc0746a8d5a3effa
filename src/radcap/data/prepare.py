"""Splits of a source into Arrow files, with a report in which rows in = rows out + quarantined."""

import csv
import hashlib
import io
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from radcap import files, layout, seeds
from radcap.data import articles, cleaning, concepts, folder, store
from radcap.errors import UserError
from radcap.runtime.progress import track
from radcap.settings import Data


def prepare(data: Data, *, seed: int) -> dict[str, Any]:
    """Write data/*.arrow, data/report.json, data/quarantine.csv and data/articles.csv; return the report.

    All files are written beside their place first: a mistake in any split leaves nothing behind.
    """
    report: dict[str, Any] = {"source": data.source, "splits": {}}
    refused: list[tuple[str, folder.QuarantinedRow]] = []
    Path("data").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir="data", prefix=".prepare-") as name:
        out = Path(name)
        with _source(data, seed=seed) as root:
            for split in layout.SPLITS:
                report["splits"][split], out_of_split = _write_split(root, split, out)
                refused += [(split, row) for row in out_of_split]
            known = articles.read_source(root)
        report["images_with_article"] = len(known)
        articles.write(out / "articles.csv", known)
        report["general"] = store.write(out / "general.arrow", _general(data, seed=seed))
        files.write_json(out / "report.json", report)
        files.write_text(out / "quarantine.csv", _quarantine(refused))
        for path in sorted(out.iterdir()):
            path.replace(Path("data") / path.name)
    return report


@contextmanager
def _source(data: Data, *, seed: int) -> Iterator[Path]:
    if data.source == "folder":
        # Relative to the project also inside a queued experiment, whose working copy has no such folder.
        yield layout.main_workspace() / Path(data.path).expanduser()
        return
    from radcap.data.phantoms.dataset import write_dataset

    with tempfile.TemporaryDirectory(prefix="radcap-") as name:
        counts = {split: getattr(data, split) for split in layout.SPLITS}
        write_dataset(Path(name), counts=counts, seed=seeds.derive_seed(seed, "prepare"))
        yield Path(name)


def _write_split(root: Path, split: str, out: Path) -> tuple[dict[str, Any], list[folder.QuarantinedRow]]:
    captions = root / f"{split}_captions.csv"
    rows_in = sum(1 for _ in folder.read_csv(captions, ("ID", "Caption"))) if root.is_dir() else 0
    tally = _Tally()
    kept = tally.kept(track(folder.read_rows(root, split), total=rows_in, label=f"prepare {split}"))
    rows_out = store.write(out / f"{split}.arrow", kept)
    if rows_out == 0:
        reasons = ", ".join(sorted({row.reason for row in tally.refused})) or "the captions file has no rows"
        raise UserError(f"no usable row in split {split} of {root} ({reasons})")
    return tally.report(rows_in, rows_out, captions), tally.refused


class _Tally:
    """Counts what passes while a split is written."""

    def __init__(self) -> None:
        self.refused: list[folder.QuarantinedRow] = []
        self.words: list[int] = []
        self.modalities: Counter[str] = Counter()
        self.cleaned = self.without_concepts = 0

    def kept(self, rows: Iterator[store.Row | folder.QuarantinedRow]) -> Iterator[store.Row]:
        for row in rows:
            if isinstance(row, folder.QuarantinedRow):
                self.refused.append(row)
                continue
            self.words.append(len(row.caption.split()))
            self.modalities[concepts.modality(row.cuis)] += 1
            self.cleaned += row.caption != row.raw_caption
            self.without_concepts += not row.cuis
            yield row

    def report(self, rows_in: int, rows_out: int, captions: Path) -> dict[str, Any]:
        quartiles = np.percentile(self.words, [25, 50, 75]).tolist()
        return {
            "rows_in": rows_in,
            "rows_out": rows_out,
            "quarantined": dict(sorted(Counter(row.reason for row in self.refused).items())),
            "captions_changed_by_cleaning": self.cleaned,
            "rows_without_concepts": self.without_concepts,
            "modalities": dict(sorted(self.modalities.items())),
            "words": {"mean": round(float(np.mean(self.words)), 2), "quartiles": quartiles, "max": max(self.words)},
            "captions_sha256": files.sha256(captions),
        }


def _general(data: Data, *, seed: int) -> Iterator[store.Row]:
    """The miniatures' pretraining examples: general pictures, and diagrams in radiology's words."""
    if not data.pictures + data.diagrams:
        return
    from radcap.data.phantoms.diagrams import draw_diagram
    from radcap.data.phantoms.shapes import draw_scene

    for kind, count, draw in (("picture", data.pictures, draw_scene), ("diagram", data.diagrams, draw_diagram)):
        for index in range(count):
            rng = np.random.default_rng([seeds.derive_seed(seed, f"{kind}s"), index])
            yield _example(f"{kind}_{index:06d}", *draw(rng))


def _example(id_: str, image: Any, caption: str) -> store.Row:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    data = buffer.getvalue()
    return store.Row(
        id=id_,
        image=data,
        caption=cleaning.clean_caption(caption),
        raw_caption=caption,
        cuis=(),
        width=image.width,
        height=image.height,
        sha256=hashlib.sha256(data).hexdigest(),
    )


def _quarantine(refused: list[tuple[str, folder.QuarantinedRow]]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["split", "line", "id", "reason"])
    writer.writerows([split, row.line, row.id, row.reason] for split, row in refused)
    return buffer.getvalue()
