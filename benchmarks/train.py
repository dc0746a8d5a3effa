"""Samples a second and peak memory of a training step beside the Hugging Face Trainer with peft and TRL's SFTTrainer.

pip install -e .[benchmark]                           once; or, beside the environment,
pip install --no-deps --target /tmp/trl trl
python benchmarks/train.py (from the root)            the tables, about 15 minutes on one thread
python benchmarks/train.py --models qwen2_vl_2b --rounds 1
python benchmarks/train.py --levers                   each of radcap's levers on and off

All sides train the same adapters on the same batches in the same order, in float32 on one thread, from the same
weights; examples are encoded before. Each run is a process of its own; sides alternate, and medians over the rounds of
the median step's CPU time are shown, which other processes of the machine hardly move. Losses stand beside the times.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

# Before the libraries are imported; nothing here comes from a hub.
os.environ |= {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "TOKENIZERS_PARALLELISM": "false",
    "OMP_NUM_THREADS": "1",
}

MODELS = ("smolvlm_500m", "qwen2_vl_2b", "llava_1_5_7b")
SIDES = ("trainer + peft", "trl", "radcap")
# What trains: adapters on language model and connector (the tower stands still), or on the tower too.
TOWERS = {"tower frozen": False, "tower adapted": True}
LEVERS = ("labels", "towers", "order")


def main() -> None:
    options = arguments()
    if options.one:
        one(json.loads(options.one), options)
        return
    for recompute in (0, 1):
        print(f"\nactivation checkpointing: {('none', 'all')[recompute]}\n")
        print("| model | trains | side | samples/s | of radcap | peak MiB | largest difference of losses |")
        print("|---|---|---|---:|---:|---:|---:|")
        for key in options.models:
            for name, tower in TOWERS.items():
                task = {"key": key, "tower": tower, "recompute": recompute}
                print_rows(key, name, sides(task, options), options)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--models", nargs="+", choices=MODELS, default=MODELS)
    add("--rounds", type=int, default=3)
    add("--steps", type=int, default=6, help="optimizer steps of a run, two of them before the measured ones")
    add("--batch-size", type=int, default=4)
    add("--levers", action="store_true", help="radcap alone, with each lever off")
    add("--trl", type=Path, default=Path("/tmp/trl"), help="folder that holds TRL (/tmp/trl)")
    add("--tiny", action="store_true", help="the sample's sizes: does it run")
    add("--one", help=argparse.SUPPRESS)
    return parser.parse_args()


def sides(task: dict[str, Any], options: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    """{side: its runs}, alternating."""
    if options.levers:
        named = {"radcap": LEVERS} | {f"without {lever}": [x for x in LEVERS if x != lever] for lever in LEVERS}
        tasks = {name: task | {"side": "radcap", "levers": list(levers)} for name, levers in named.items()}
    else:
        tasks = {side: task | {"side": side, "levers": LEVERS} for side in SIDES}
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in tasks}
    for _ in range(options.rounds):
        for name, each in tasks.items():
            runs[name].append(start(each, options))
    return runs


def start(task: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    command = [sys.executable, __file__, "--one", json.dumps(task), "--trl", str(options.trl)]
    command += ["--steps", str(options.steps), "--batch-size", str(options.batch_size)] + ["--tiny"] * options.tiny
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{task}: {done.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def one(task: dict[str, Any], options: argparse.Namespace) -> None:
    """Measure one side in this process and print what was found as JSON."""
    sys.path.append(str(options.trl))
    import torch
    from training import sides
    from training.workload import workload

    from radcap.train.recipe import Recipe

    torch.set_num_threads(1)
    recipe = Recipe(
        steps=options.steps,
        batch_size=options.batch_size,
        accumulation=1,
        learning_rate=1e-3,
        weight_decay=0.0,
        warmup=0.0,
        schedule="constant",
        max_grad_norm=1.0,
        seed=1,
        recompute_every=task["recompute"],
    )
    with tempfile.TemporaryDirectory() as folder:
        work = workload(
            task["key"],
            strategy="targeted",
            tower=task["tower"],
            rows=options.steps * options.batch_size,
            folder=Path(folder),
            tiny=options.tiny,
        )
        if task["side"] == "radcap":
            found = sides.radcap(work, recipe, levers=frozenset(task["levers"]))
        else:
            found = {"trainer + peft": sides.hugging_face, "trl": sides.trl}[task["side"]](work, recipe)
    print(json.dumps(asdict(found)))


def print_rows(key: str, trains: str, runs: dict[str, list[dict[str, Any]]], options: argparse.Namespace) -> None:
    seconds = {side: statistics.median(run["seconds"] for run in found) for side, found in runs.items()}
    own = runs["radcap"][0]["losses"]
    for side, found in runs.items():
        rate = options.batch_size / seconds[side]
        peak = statistics.median(run["peak"] for run in found)
        apart = max(abs(a - b) for run in found for a, b in zip(run["losses"], own, strict=True))
        ratio = seconds["radcap"] / seconds[side]
        print(f"| {key} | {trains} | {side} | {rate:.2f} | {ratio:.2f} | {peak:.0f} | {apart:.1e} |", flush=True)


if __name__ == "__main__":
    main()
