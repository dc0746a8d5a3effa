"""Compare a training step with the Hugging Face Trainer plus peft, and with TRL's SFTTrainer: speed and peak memory.

pip install -e .[benchmark]                           once, or outside the environment:
pip install --no-deps --target /tmp/trl trl
python benchmarks/train.py (from the root)            the tables, in about 15 minutes on one thread
python benchmarks/train.py --models qwen2_vl_2b --rounds 1
python benchmarks/train.py --levers                   radcap with each of its levers on and off

All trainers train the same adapters on the same batches in the same order, in float32 on one thread, from the same
weights. Examples are encoded in advance. Each run is a separate process, and the trainers alternate. The tables show
the median over the rounds of each run's median CPU time per step, which other processes on the machine hardly affect,
and how far the losses differ.
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

# Must be set before the libraries are imported. Nothing is downloaded.
os.environ |= {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "TOKENIZERS_PARALLELISM": "false",
    "OMP_NUM_THREADS": "1",
}

MODELS = ("smolvlm_500m", "qwen2_vl_2b", "llava_1_5_7b")
TRAINERS = ("trainer + peft", "trl", "radcap")
# Adapters on the language model and the connector only (frozen tower), or on the tower, too.
TOWERS = {"tower frozen": False, "tower adapted": True}
LEVERS = ("labels", "towers", "order")


def main() -> None:
    options = arguments()
    if options.one:
        measure_one(json.loads(options.one), options)
        return
    for recompute in (0, 1):
        print(f"\nactivation checkpointing: {('none', 'all')[recompute]}\n")
        print(
            "| model | adapters | trainer | samples/s | relative to radcap | peak MiB | largest difference of losses |"
        )
        print("|---|---|---|---:|---:|---:|---:|")
        for key in options.models:
            for name, tower in TOWERS.items():
                task = {"key": key, "tower": tower, "recompute": recompute}
                print_rows(key, name, measure_all(task, options), options)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--models", nargs="+", choices=MODELS, default=MODELS)
    add("--rounds", type=int, default=3)
    add("--steps", type=int, default=6, help="optimizer steps per run, including two warm-up steps")
    add("--batch-size", type=int, default=4)
    add("--levers", action="store_true", help="only radcap, with each lever off")
    add("--trl", type=Path, default=Path("/tmp/trl"), help="folder with TRL (/tmp/trl)")
    add("--tiny", action="store_true", help="the sizes of the sample, to see that it runs")
    add("--one", help=argparse.SUPPRESS)
    return parser.parse_args()


def measure_all(task: dict[str, Any], options: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    """{trainer: its runs}. The trainers alternate."""
    if options.levers:
        variants = {"radcap": LEVERS} | {f"without {lever}": [x for x in LEVERS if x != lever] for lever in LEVERS}
        tasks = {name: task | {"trainer": "radcap", "levers": list(levers)} for name, levers in variants.items()}
    else:
        tasks = {name: task | {"trainer": name, "levers": LEVERS} for name in TRAINERS}
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in tasks}
    for _ in range(options.rounds):
        for name, trainer_task in tasks.items():
            runs[name].append(run_process(trainer_task, options))
    return runs


def run_process(task: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    command = [sys.executable, __file__, "--one", json.dumps(task), "--trl", str(options.trl)]
    command += ["--steps", str(options.steps), "--batch-size", str(options.batch_size)] + ["--tiny"] * options.tiny
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    if process.returncode:
        sys.exit(f"{task}: {process.stderr[-3000:]}")
    measurement: dict[str, Any] = json.loads(process.stdout.splitlines()[-1])
    return measurement


def measure_one(task: dict[str, Any], options: argparse.Namespace) -> None:
    """Measure one trainer in this process and print the measurement as JSON."""
    sys.path.append(str(options.trl))
    import torch
    from training import trainers
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
        if task["trainer"] == "radcap":
            measurement = trainers.radcap(work, recipe, levers=frozenset(task["levers"]))
        else:
            measure = {"trainer + peft": trainers.hugging_face, "trl": trainers.trl}[task["trainer"]]
            measurement = measure(work, recipe)
    print(json.dumps(asdict(measurement)))


def print_rows(key: str, adapters: str, runs: dict[str, list[dict[str, Any]]], options: argparse.Namespace) -> None:
    seconds = {name: statistics.median(run["seconds"] for run in measured) for name, measured in runs.items()}
    radcap_losses = runs["radcap"][0]["losses"]
    for name, measured in runs.items():
        rate = options.batch_size / seconds[name]
        peak = statistics.median(run["peak"] for run in measured)
        difference = max(abs(a - b) for run in measured for a, b in zip(run["losses"], radcap_losses, strict=True))
        ratio = seconds["radcap"] / seconds[name]
        row = f"{rate:.2f} | {ratio:.2f} | {peak:.0f} | {difference:.1e}"
        print(f"| {key} | {adapters} | {name} | {row} |", flush=True)


if __name__ == "__main__":
    main()
