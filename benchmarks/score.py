"""Seconds a caption of each metric beside the official way, on the same random weights of base size.

python benchmarks/score.py (from the root)            the table: both sides on the first 500 captions, about 15 minutes
python benchmarks/score.py --scale                    and seconds and peak memory at 1,000, 5,000 and 10,000 captions
python benchmarks/score.py --scale --scorers models/scorers     the same with the sample's small scorers, in minutes
python benchmarks/score.py --half                     and what bfloat16 changes
python benchmarks/score.py --metrics rouge1 bleurt --captions 50 --official 10

The official side is measured on all captions, or evenly spaced ones where a caption takes long; the scores of those
measured on both sides are compared. Checkpoints (about 4 GB) are written once into the folder of --checkpoints.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import tempfile
from pathlib import Path

# Before the libraries are imported; nothing here comes from a hub.
os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error", "TOKENIZERS_PARALLELISM": "false"}

METRICS = ("rouge1", "bertscore", "bleurt", "alignscore", "similarity", "umls_f1")
NETWORKS = ("bertscore", "bleurt", "alignscore", "similarity")
CAPTIONS, SIZES = 500, (1000, 5000, 10_000)
# Captions that the official side scores where --official does not say: it takes seconds for each of these.
OFFICIAL = {"alignscore": 40, "similarity": 40}
DATA = Path("../shared/data/rocov2_text")
# The sample's scorers below models/scorers.
SAMPLE = {
    "bertscore": "deberta",
    "bleurt": "bleurt",
    "alignscore": "alignscore",
    "similarity": "medimageinsight",
    "umls_f1": "medcat.zip",
}


def main() -> None:
    options = arguments()
    import torch

    torch.set_num_threads(options.threads)
    if options.point:
        print_point(options)
        return
    print(f"torch {torch.__version__}, {options.threads} threads, {options.captions} captions of {options.data}")
    if not options.scorers:
        print_table(options)
    if options.half:
        print_half(options)
    if options.scale:
        print_scale(options)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--data", type=Path, default=DATA, help=f"folder of ROCOv2's valid_*.csv ({DATA})")
    add("--checkpoints", type=Path, default=Path(tempfile.gettempdir()) / "radcap-benchmark")
    add("--scorers", type=Path, help="with --scale: small scorers in place of those of base size")
    add("--metrics", nargs="+", choices=METRICS, default=METRICS, metavar="METRIC", help=", ".join(METRICS))
    add("--captions", type=int, default=CAPTIONS, help=f"how many radcap scores ({CAPTIONS})")
    add("--official", type=int, help=f"how many the official side scores (all; {OFFICIAL})")
    add("--threads", type=int, default=os.cpu_count(), help="of torch (all cores)")
    add("--half", action="store_true", help="bfloat16 beside float32")
    add("--scale", action="store_true", help="time and peak memory at --sizes captions")
    add("--sizes", nargs="+", type=int, default=SIZES)
    add("--point", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def checkpoint(options: argparse.Namespace, metric: str) -> Path:
    """A metric's checkpoint; its tokenizer is learned from all captions whatever is scored."""
    from scoring import checkpoints, workload

    if options.scorers:
        return options.scorers / SAMPLE.get(metric, "")
    everything = [text for _, text in workload.table(options.data / workload.CAPTIONS)]
    gpt2 = options.data.parent / "tokenizers" / "gpt2"
    return checkpoints.write(metric, options.checkpoints, everything, gpt2)


def print_table(options: argparse.Namespace) -> None:
    from scoring import measure, workload

    work = workload.load(options.data, options.captions)
    print("\nSeconds a caption; second: other candidates for the same references; ratios to official and to first")
    print(f"official ROUGE: {'through evaluate' if importlib.util.find_spec('evaluate') else 'rouge_score alone'}")
    print(
        f"{'metric':<11}{'official':>10}{'on':>6}{'radcap':>10}{'ratio':>8}{'second':>10}{'ratio':>7}{'difference':>12}"
    )
    for metric in options.metrics:
        wanted = options.official or OFFICIAL.get(metric, options.captions)
        found = measure.compare(metric, checkpoint(options, metric), work, workload.spread(options.captions, wanted))
        print(
            f"{metric:<11}{found.official:>10.5f}{found.measured:>6}{found.radcap:>10.5f}{found.ratio:>7.1f}x"
            f"{found.second:>10.5f}{found.second / found.radcap:>7.2f}{found.difference:>12.1e}",
            flush=True,
        )
    if "similarity" in options.metrics:
        fresh, kept = measure.image_seconds(checkpoint(options, "similarity"), work)
        print(f"similarity, an image (narrow tower): {fresh:.3f} s; kept from an earlier call: {kept:.5f} s")


def print_half(options: argparse.Namespace) -> None:
    from scoring import measure, workload

    work = workload.load(options.data, options.captions)
    print(f"\nbfloat16\n{'metric':<11}{'float32':>10}{'bfloat16':>10}{'ratio':>8}{'mean moves':>12}{'largest':>10}")
    for metric in (name for name in options.metrics if name in NETWORKS):
        found = measure.halve(metric, checkpoint(options, metric), work)
        print(
            f"{metric:<11}{found.full:>10.5f}{found.half:>10.5f}{found.full / found.half:>7.1f}x"
            f"{found.mean:>12.1e}{found.largest:>10.1e}",
            flush=True,
        )


def print_scale(options: argparse.Namespace) -> None:
    from scoring import measure

    small = [f"--scorers={options.scorers}"] if options.scorers else []
    shared = [*small, f"--data={options.data}", f"--checkpoints={options.checkpoints}", f"--threads={options.threads}"]
    print(f"\nScale\n{'metric':<11}{'captions':>9}{'seconds':>9}{'second':>9}{'peak GiB':>10}{'of it idle':>11}")
    for metric in options.metrics:
        for size in options.sizes:
            found = measure.point_alone(metric, size, shared)
            print(
                f"{metric:<11}{size:>9}{found.seconds:>9.1f}{found.second:>9.1f}{found.peak:>10.2f}{found.idle:>11.2f}",
                flush=True,
            )


def print_point(options: argparse.Namespace) -> None:
    from scoring import measure, workload

    (metric,) = options.metrics
    print(
        measure.to_json(
            measure.point(metric, checkpoint(options, metric), workload.load(options.data, options.captions))
        )
    )


if __name__ == "__main__":
    main()
