"""Seconds, differences and peak memory of a metric on both sides."""

from __future__ import annotations

import gc
import json
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from scoring import official, ours
from scoring.workload import Workload

WARM = ("Axial CT of the chest shows a nodule.", "Chest CT with a small nodule in the left lung.")


@dataclass(frozen=True)
class Comparison:
    """Seconds a caption, over `measured` captions on the official side and all of them on radcap's."""

    metric: str
    measured: int
    official: float
    radcap: float
    second: float
    difference: float

    @property
    def ratio(self) -> float:
        return self.official / self.radcap


@dataclass(frozen=True)
class Point:
    """Seconds for `captions` and peak memory of the process in GiB; `idle`: before anything was scored."""

    metric: str
    captions: int
    seconds: float
    second: float
    peak: float
    idle: float


@dataclass(frozen=True)
class Half:
    """float32 and bfloat16 side by side: seconds a caption, and how far scores move."""

    metric: str
    full: float
    half: float
    mean: float
    largest: float


def compare(metric: str, checkpoint: Path, work: Workload, places: Sequence[int]) -> Comparison:
    """Score all captions with radcap, twice with other candidates, and those at `places` in the official way."""
    slow, expected = run_official(metric, checkpoint, work, places)
    gc.collect()
    score = opened(metric, checkpoint, work)
    images = work.images_of(range(len(work.references)))
    fast, values = timed(score, work.candidates, work.references, images)
    second, _ = timed(score, work.others, work.references, images)
    pairs = zip(expected, (values[place] for place in places), strict=True)
    difference = max(abs(wanted - found) for wanted, found in pairs)
    count = len(work.references)
    return Comparison(metric, len(places), slow / len(places), fast / count, second / count, difference)


def run_official(metric: str, checkpoint: Path, work: Workload, places: Sequence[int]) -> tuple[float, list[float]]:
    """(seconds, scores) of the captions at `places`, one after another."""
    score = official.OPENERS[metric](checkpoint, work.references)
    for image in work.images:
        score(*WARM, image)
    start = time.perf_counter()
    images = work.images_of(places)
    rows = ((work.candidates[place], work.references[place]) for place in places)
    found = [score(*row, image) for row, image in zip(rows, images, strict=True)]
    return time.perf_counter() - start, found


def opened(metric: str, checkpoint: Path, work: Workload, *, dtype: str = "float32") -> ours.Score:
    """A scorer that has seen one pair, and every image: their embeddings do not depend on the captions."""
    score = ours.open_scorer(metric, checkpoint, dtype=dtype, processes=torch.get_num_threads())
    count = len(work.images)
    score(WARM[:1] * count, WARM[1:] * count, work.images)
    return score


def timed(
    score: ours.Score, candidates: list[str], references: list[str], images: list[bytes]
) -> tuple[float, list[float]]:
    start = time.perf_counter()
    values = score(candidates, references, images)
    return time.perf_counter() - start, values


def image_seconds(checkpoint: Path, work: Workload, *, again: int = 1000) -> tuple[float, float]:
    """Seconds an image whose embedding is computed, and one (of `again`) whose embedding is kept; one caption."""
    score = opened("similarity", checkpoint, Workload([], [], [], work.images[:1]))
    fresh = work.images[1:]
    first, _ = timed(score, WARM[:1] * len(fresh), WARM[1:] * len(fresh), fresh)
    kept = [fresh[number % len(fresh)] for number in range(again)]
    later, _ = timed(score, WARM[:1] * again, WARM[1:] * again, kept)
    return first / len(fresh), later / again


def halve(metric: str, checkpoint: Path, work: Workload) -> Half:
    """The same captions in float32, then in bfloat16, each by a scorer of its own."""
    images = work.images_of(range(len(work.references)))
    found = []
    for dtype in ("float32", "bfloat16"):
        score = opened(metric, checkpoint, work, dtype=dtype)
        found.append(timed(score, work.candidates, work.references, images))
        del score
        gc.collect()
    (full, wanted), (half, values) = found
    moved = [abs(a - b) for a, b in zip(wanted, values, strict=True)]
    count = len(moved)
    return Half(metric, full / count, half / count, sum(moved) / count, max(moved))


def point(metric: str, checkpoint: Path, work: Workload) -> Point:
    """To be run in a process of its own, whose peak memory it tells."""
    score = opened(metric, checkpoint, work)
    idle = peak_memory()
    images = work.images_of(range(len(work.references)))
    seconds, _ = timed(score, work.candidates, work.references, images)
    peak = peak_memory()
    second, _ = timed(score, work.others, work.references, images)
    return Point(metric, len(images), seconds, second, peak, idle)


def point_alone(metric: str, count: int, arguments: Sequence[str]) -> Point:
    """`point` in a fresh process of score.py."""
    script = Path(__file__).parents[1] / "score.py"
    command = [sys.executable, str(script), *arguments, "--metrics", metric, "--captions", str(count), "--point"]
    told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return Point(**json.loads(told.splitlines()[-1]))


def to_json(found: Point) -> str:
    return json.dumps(asdict(found))


def peak_memory() -> float:
    """GiB, of this process and of its largest child; ru_maxrss is in KiB on Linux."""
    found = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(found) / 2**20
