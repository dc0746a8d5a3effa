"""Captions per second: radcap against a loop over images and against transformers' pipeline, same weights, one run.

    python -m benchmarks.generate [--models KEY ...] [--images 240] [--rounds 3]
    python -m benchmarks.generate --bfloat16      # instead: how many captions it leaves alone

The models are the fine-tuned miniatures of `make repro`. Every side starts from the images' bytes, decodes greedily
with the same limit, and is timed in turns; the median of its rounds counts. The loop and the pipeline may use all
cores (--threads) or one, whichever is faster; radcap runs in one process, and in as many as there are cores. Loading
is no part of it. "inputs" is the time of decoding and processing the images alone, which no side can do without: what
it leaves of the loop's time is the most that a single process could gain.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable
from multiprocessing import get_context
from typing import Any

import torch

from benchmarks.generating.half import equal_captions
from benchmarks.generating.others import loop, pipeline
from benchmarks.generating.ours import worker
from radcap import layout, settings
from radcap.adapt.storage import load_fine_tuned
from radcap.caption.generate import generate_captions
from radcap.caption.search import DecodingOptions
from radcap.caption.variants import labelled_variant
from radcap.data import store
from radcap.models.inputs import encode

DECODING = DecodingOptions(beams=1, max_new_tokens=64)
SIDES = ("loop", "pipeline", "inputs", "radcap", "processes")
COLUMNS = ("loop", "pipeline", "inputs alone", "radcap 1", "radcap {n}", "1 / loop", "{n} / loop", "equal captions")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=[])
    parser.add_argument("--images", type=int, default=240)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--bfloat16", action="store_true")
    options = parser.parse_args()
    params = settings.load()
    if options.bfloat16:
        print(f"equal captions of {options.images} images")
        print("model | bf16: batch 4 as 1 | bf16: 16 as 1 | bf16 as float32 | float32: 4 as 1 | float32: 16 as 1")
        for key in options.models or params.models:
            print(" | ".join(equal_captions(params, key, images=options.images, decoding=DECODING)), flush=True)
        return
    print(f"{options.images} images of the train split, {options.threads} cores; captions per second")
    print(" | ".join(["model", *(name.format(n=options.threads) for name in COLUMNS)]), flush=True)
    for key in options.models or params.models:
        print(" | ".join(measure(params, key, options)), flush=True)


def measure(params: settings.Settings, key: str, options: argparse.Namespace) -> list[str]:
    """One row of the table."""
    rows = store.read(layout.split("train")).select(range(options.images))
    loaded = load_fine_tuned(layout.fine_tuned(key), layout.base(key), dtype="float32")
    loaded.model.eval()
    decoding = DECODING
    prompts = labelled_variant(params, key, "plain", [None] * len(rows)).prompts
    size = params.active.generate.batch_size

    def ours() -> list[str]:
        made = generate_captions(lambda: loaded, rows, prompts, variant="plain", decoding=decoding, batch_size=size)
        return [one.raw for one in made]

    others = {
        "loop": loop(loaded, rows, prompts, decoding),
        "pipeline": pipeline(loaded, rows, prompts, decoding, size),
    }
    sides = {f"{name} {n}": with_threads(run, n) for name, run in others.items() if run for n in (1, options.threads)}
    sides["inputs"] = with_threads(
        lambda: [str(len(encode(loaded, *pair))) for pair in zip(rows["image"], prompts, strict=True)], 1
    )
    sides["radcap"] = with_threads(ours, 1)
    with Several(key, options.images, decoding, size, options.threads) as several:
        sides["processes"] = several.run
        seconds, texts = in_turns(sides, options.rounds)
    best = {name: min((seconds[side] for side in seconds if side.split()[0] == name), default=None) for name in SIDES}
    rates = {name: options.images / s if s else None for name, s in best.items()}
    texts.pop("inputs")
    # The pipeline leaves the blank before the first word.
    lines = {name: [text.strip() for text in found] for name, found in texts.items()}
    equal = [sum(a == b for a, b in zip(lines["loop 1"], found, strict=True)) for found in lines.values()]
    ratios = [rates[name] / rates["loop"] for name in ("radcap", "processes")]
    shown = [f"{rate:.1f}" if rate else "none" for rate in rates.values()]
    return [key, *shown, *(f"{ratio:.1f}x" for ratio in ratios), f"{min(equal)} of {options.images}"]


def with_threads(run: Callable[[], list[str]], threads: int) -> Callable[[], list[str]]:
    def timed() -> list[str]:
        torch.set_num_threads(threads)
        return run()

    return timed


def in_turns(sides: dict[str, Callable[[], list[str]]], rounds: int) -> tuple[dict[str, float], dict[str, list[str]]]:
    """Median seconds and captions of each side; the first turn warms up and does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    texts: dict[str, list[str]] = {}
    for _ in range(rounds + 1):
        for name, run in sides.items():
            start = time.perf_counter()
            texts[name] = run()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values[1:]) for name, values in seconds.items()}, texts


class Several:
    """radcap in several processes that have the model open, each with its share of the batches."""

    def __init__(self, *arguments: Any) -> None:
        self.size = arguments[-1]
        context = get_context("spawn")
        pipes = [context.Pipe() for _ in range(self.size)]
        self.ends = [end for end, _ in pipes]
        self.processes = [
            context.Process(target=worker, args=(other, rank, *arguments)) for rank, (_, other) in enumerate(pipes)
        ]

    def __enter__(self) -> "Several":
        for process in self.processes:
            process.start()
        for end in self.ends:
            assert end.recv() == "ready"
        return self

    def run(self) -> list[str]:
        for end in self.ends:
            end.send("go")
        made = {index: text for end in self.ends for index, text in end.recv()}
        return [made[index] for index in sorted(made)]

    def __exit__(self, *_: object) -> None:
        for end, process in zip(self.ends, self.processes, strict=True):
            end.send("stop")
            process.join()


if __name__ == "__main__":
    main()
