"""The captions that are scored: real ROCOv2 references, and captions of other images of the same modality."""

from __future__ import annotations

import csv
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

CAPTIONS, CONCEPTS = "valid_captions.csv", "valid_concepts_manual.csv"
IMAGES = Path("radiology/valid")
# The curated concepts of modalities: CT, X-ray, MRI, ultrasound, angiography, PET, OCT, PET/CT.
MODALITIES = ("C0040405", "C1306645", "C0024485", "C0041618", "C0002978", "C0032743", "C0920367", "C1699633")
SEED = 20251212


@dataclass(frozen=True)
class Workload:
    """References and two sets of candidates, `candidates` and `others`. No candidate is also a reference.

    `images`: the bytes of a few files, which the captions use in turn.
    """

    references: list[str]
    candidates: list[str]
    others: list[str]
    images: list[bytes]

    def subset(self, rows: Sequence[int]) -> Workload:
        """The captions of some rows."""
        lists = (self.references, self.candidates, self.others)
        return Workload(*([texts[row] for row in rows] for texts in lists), self.images)

    def images_of(self, rows: Sequence[int]) -> list[bytes]:
        return [self.images[row % len(self.images)] for row in rows]


def load(folder: Path, count: int) -> Workload:
    """The first `count` captions of the folder, repeated if it has fewer.

    SystemExit, in one line: the data is missing.
    """
    captions = table(folder / CAPTIONS)
    concepts = {id_: set(cuis.split(";")) for id_, cuis in table(folder / CONCEPTS)}
    groups: dict[str, list[int]] = defaultdict(list)
    modality = [next((m for m in MODALITIES if m in concepts.get(id_, ())), "") for id_, _ in captions]
    for row, name in enumerate(modality):
        groups[name].append(row)
    texts = [text for _, text in captions]
    rows = [number % len(texts) for number in range(count)]
    references = {texts[row] for row in rows}
    rng = random.Random(SEED)
    candidates = [
        [_not_a_reference(texts[rng.choice(groups[modality[row]])], references) for row in rows] for _ in range(2)
    ]
    return Workload([texts[row] for row in rows], *candidates, _images(folder.parent / IMAGES))


def evenly_spaced(count: int, selected: int) -> list[int]:
    """`selected` evenly spaced indices below `count`."""
    selected = min(selected, count)
    return [number * count // selected for number in range(selected)]


def table(path: Path) -> list[tuple[str, str]]:
    """The first two columns of a CSV file."""
    if not path.is_file():
        raise SystemExit(f"{path} not found; --data names the folder with {CAPTIONS} and {CONCEPTS} of ROCOv2")
    with path.open(encoding="utf-8", newline="") as lines:
        return [(row[0], row[1]) for row in list(csv.reader(lines))[1:]]


def _not_a_reference(text: str, references: set[str]) -> str:
    """The text, changed if it is a reference: scorers would compute it only once, unlike a model's captions."""
    words = text.split()
    return text if text not in references else " ".join([*words[1:], *words[:1]]) + "."


def _images(folder: Path, count: int = 4) -> list[bytes]:
    """A few images, or noise without the folder: the time that texts take does not depend on them."""
    images = [path.read_bytes() for path in sorted(folder.glob("*"))[:count]] if folder.is_dir() else []
    return images or [_noise(number) for number in range(count)]


def _noise(seed: int) -> bytes:
    import io

    from PIL import Image

    file = io.BytesIO()
    Image.frombytes("L", (256, 256), random.Random(seed).randbytes(256 * 256)).save(file, "PNG")
    return file.getvalue()
