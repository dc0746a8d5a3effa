"""What is scored: real ROCOv2 captions, each against other rows' captions of its modality."""

from __future__ import annotations

import csv
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

CAPTIONS, CONCEPTS = "valid_captions.csv", "valid_concepts_manual.csv"
IMAGES = Path("radiology/valid")
# CT, X-ray, MRI, ultrasound, angiography, PET, OCT, PET/CT: the curated concepts that name a modality.
MODALITIES = ("C0040405", "C1306645", "C0024485", "C0041618", "C0002978", "C0032743", "C0920367", "C1699633")
SEED = 20251212


@dataclass(frozen=True)
class Workload:
    """References, and two sets of candidates for them; no candidate is also a reference. `images`: files' bytes,
    fewer than captions, to be taken in turn."""

    references: list[str]
    candidates: list[str]
    others: list[str]
    images: list[bytes]

    def part(self, places: Sequence[int]) -> Workload:
        """The same captions at some places alone."""
        lists = (self.references, self.candidates, self.others)
        return Workload(*([texts[place] for place in places] for texts in lists), self.images)

    def images_of(self, places: Sequence[int]) -> list[bytes]:
        return [self.images[place % len(self.images)] for place in places]


def load(folder: Path, count: int) -> Workload:
    """The first `count` captions of the folder, from the beginning again where it holds fewer.

    SystemExit with one line where the data is absent.
    """
    captions = table(folder / CAPTIONS)
    concepts = {id_: set(cuis.split(";")) for id_, cuis in table(folder / CONCEPTS)}
    groups: dict[str, list[int]] = defaultdict(list)
    modality = [next((m for m in MODALITIES if m in concepts.get(id_, ())), "") for id_, _ in captions]
    for row, name in enumerate(modality):
        groups[name].append(row)
    texts = [text for _, text in captions]
    rows = [number % len(texts) for number in range(count)]
    known = {texts[row] for row in rows}
    rng = random.Random(SEED)
    drawn = [[_fresh(texts[rng.choice(groups[modality[row]])], known) for row in rows] for _ in range(2)]
    return Workload([texts[row] for row in rows], *drawn, _images(folder.parent / IMAGES))


def spread(count: int, wanted: int) -> list[int]:
    """`wanted` of `count` places, evenly apart."""
    wanted = min(wanted, count)
    return [number * count // wanted for number in range(wanted)]


def table(path: Path) -> list[tuple[str, str]]:
    """The first two columns."""
    if not path.is_file():
        raise SystemExit(f"{path} not found; --data names the folder with {CAPTIONS} and {CONCEPTS} of ROCOv2")
    with path.open(encoding="utf-8", newline="") as lines:
        return [(row[0], row[1]) for row in list(csv.reader(lines))[1:]]


def _fresh(text: str, known: set[str]) -> str:
    """A caption that is no reference: what both sides share would be computed once, which no model's captions allow."""
    words = text.split()
    return text if text not in known else " ".join([*words[1:], *words[:1]]) + "."


def _images(folder: Path, count: int = 4) -> list[bytes]:
    """A few images, or drawn noise where the folder is absent: the text side's time does not depend on them."""
    found = [path.read_bytes() for path in sorted(folder.glob("*"))[:count]] if folder.is_dir() else []
    return found or [_noise(number) for number in range(count)]


def _noise(seed: int) -> bytes:
    import io

    from PIL import Image

    file = io.BytesIO()
    Image.frombytes("L", (256, 256), random.Random(seed).randbytes(256 * 256)).save(file, "PNG")
    return file.getvalue()
