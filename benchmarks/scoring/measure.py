"""Measures seconds, differences of scores and peak memory of a metric, by radcap and in the official way."""

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

WARM_UP = ("Axial CT of the chest shows a nodule.", "Chest CT with a small nodule in the left lung.")


@dataclass(frozen=True)
class Comparison:
    """Seconds per caption: of `count` captions in the official way, and of all captions by radcap.

    `second`: of other candidates for the same references. `difference`: the largest one between both sides' scores.
    """

    metric: str
    count: int
    official: float
    radcap: float
    second: float
    difference: float

    @property
    def ratio(self) -> float:
        return self.official / self.radcap


@dataclass(frozen=True)
class ScaleResult:
    """Seconds for so many `captions`, and the peak memory of the process in GiB; `idle`: before it scored any."""

    metric: str
    captions: int
    seconds: float
    second: float
    peak: float
    idle: float


@dataclass(frozen=True)
class Bfloat16Result:
    """Seconds per caption in float32 (`full`) and bfloat16 (`half`); the mean and largest change of a score."""

    metric: str
    full: float
    half: float
    mean: float
    largest: float


def compare(metric: str, checkpoint: Path, work: Workload, selected: Sequence[int]) -> Comparison:
    """Score all captions by radcap, once more with other candidates, and the selected ones in the official way."""
    official_seconds, expected = run_official(metric, checkpoint, work, selected)
    gc.collect()
    score = load_warm(metric, checkpoint, work)
    images = work.images_of(range(len(work.references)))
    seconds, values = timed(score, work.candidates, work.references, images)
    second, _ = timed(score, work.others, work.references, images)
    pairs = zip(expected, (values[index] for index in selected), strict=True)
    difference = max(abs(official_score - score) for official_score, score in pairs)
    count = len(work.references)
    per_caption = official_seconds / len(selected)
    return Comparison(metric, len(selected), per_caption, seconds / count, second / count, difference)


def run_official(metric: str, checkpoint: Path, work: Workload, selected: Sequence[int]) -> tuple[float, list[float]]:
    """Score the selected captions one after another: (seconds, scores)."""
    score = official.LOADERS[metric](checkpoint, work.references)
    for image in work.images:
        score(*WARM_UP, image)
    start = time.perf_counter()
    images = work.images_of(selected)
    rows = ((work.candidates[index], work.references[index]) for index in selected)
    scores = [score(*row, image) for row, image in zip(rows, images, strict=True)]
    return time.perf_counter() - start, scores


def load_warm(metric: str, checkpoint: Path, work: Workload, *, dtype: str = "float32") -> ours.Score:
    """A scorer that has scored one pair, and embedded every image, since embeddings do not depend on the captions."""
    score = ours.open_scorer(metric, checkpoint, dtype=dtype, processes=torch.get_num_threads())
    count = len(work.images)
    score(WARM_UP[:1] * count, WARM_UP[1:] * count, work.images)
    return score


def timed(
    score: ours.Score, candidates: list[str], references: list[str], images: list[bytes]
) -> tuple[float, list[float]]:
    start = time.perf_counter()
    values = score(candidates, references, images)
    return time.perf_counter() - start, values


def image_seconds(checkpoint: Path, work: Workload, *, again: int = 1000) -> tuple[float, float]:
    """Seconds per image if its embedding is computed, and if it is cached (of `again` images); with one caption."""
    score = load_warm("similarity", checkpoint, Workload([], [], [], work.images[:1]))
    new = work.images[1:]
    first, _ = timed(score, WARM_UP[:1] * len(new), WARM_UP[1:] * len(new), new)
    cached = [new[number % len(new)] for number in range(again)]
    later, _ = timed(score, WARM_UP[:1] * again, WARM_UP[1:] * again, cached)
    return first / len(new), later / again


def compare_bfloat16(metric: str, checkpoint: Path, work: Workload) -> Bfloat16Result:
    """Score the same captions in float32 and in bfloat16, with separate scorers."""
    images = work.images_of(range(len(work.references)))
    results = []
    for dtype in ("float32", "bfloat16"):
        score = load_warm(metric, checkpoint, work, dtype=dtype)
        results.append(timed(score, work.candidates, work.references, images))
        del score
        gc.collect()
    (full, full_scores), (half, half_scores) = results
    changes = [abs(a - b) for a, b in zip(full_scores, half_scores, strict=True)]
    count = len(changes)
    return Bfloat16Result(metric, full / count, half / count, sum(changes) / count, max(changes))


def measure_scale(metric: str, checkpoint: Path, work: Workload) -> ScaleResult:
    """To be called in a new process, because it reports the peak memory of its process."""
    score = load_warm(metric, checkpoint, work)
    idle = peak_memory()
    images = work.images_of(range(len(work.references)))
    seconds, _ = timed(score, work.candidates, work.references, images)
    peak = peak_memory()
    second, _ = timed(score, work.others, work.references, images)
    return ScaleResult(metric, len(images), seconds, second, peak, idle)


def measure_in_new_process(metric: str, count: int, arguments: Sequence[str]) -> ScaleResult:
    """Run `measure_scale` in a new process of score.py."""
    script = Path(__file__).parents[1] / "score.py"
    command = [sys.executable, str(script), *arguments, "--metrics", metric, "--captions", str(count), "--point"]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return ScaleResult(**json.loads(output.splitlines()[-1]))


def to_json(result: ScaleResult) -> str:
    return json.dumps(asdict(result))


def peak_memory() -> float:
    """The peak of this process plus that of its largest child, in GiB. On Linux ru_maxrss is in KiB."""
    peaks = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(peaks) / 2**20
