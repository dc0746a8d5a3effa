"""Seconds per caption of each metric, by radcap and by the official evaluators, on the same random base-size weights.

python benchmarks/score.py (from the root)            the table, for the first 500 captions, in about 15 minutes
python benchmarks/score.py --scale                    also seconds and peak memory for 1,000, 5,000 and 10,000 captions
python benchmarks/score.py --scale --scorers models/scorers     the latter with the sample's miniatures, in minutes
python benchmarks/score.py --half                     also the effect of bfloat16
python benchmarks/score.py --metrics rouge1 bleurt --captions 50 --official 10

The official side scores all captions, or evenly spaced ones if a caption takes seconds. The scores of the captions that
both sides scored are compared. Checkpoints (about 4 GB) are written once, into the folder of --checkpoints.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import tempfile
from pathlib import Path

# Set before the libraries are imported. Nothing here comes from a hub.
os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error", "TOKENIZERS_PARALLELISM": "false"}

METRICS = ("rouge1", "bertscore", "bleurt", "alignscore", "similarity", "umls_f1")
NETWORKS = ("bertscore", "bleurt", "alignscore", "similarity")
CAPTIONS, SIZES = 500, (1000, 5000, 10_000)
# How many captions the official side scores without --official, for metrics that take it seconds per caption.
OFFICIAL = {"alignscore": 40, "similarity": 40}
DATA = Path("../shared/data/rocov2_text")
# {metric: the miniature below models/scorers}.
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
    add("--scorers", type=Path, help="with --scale: miniatures instead of base-size scorers")
    add("--metrics", nargs="+", choices=METRICS, default=METRICS, metavar="METRIC", help=", ".join(METRICS))
    add("--captions", type=int, default=CAPTIONS, help=f"how many radcap scores ({CAPTIONS})")
    add("--official", type=int, help=f"how many the official side scores (all; {OFFICIAL})")
    add("--threads", type=int, default=os.cpu_count(), help="of torch (all cores)")
    add("--half", action="store_true", help="compare bfloat16 with float32")
    add("--scale", action="store_true", help="time and peak memory for --sizes captions")
    add("--sizes", nargs="+", type=int, default=SIZES)
    add("--point", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def checkpoint(options: argparse.Namespace, metric: str) -> Path:
    """The checkpoint of a metric. Its tokenizer is learned from all captions, however many are scored."""
    from scoring import checkpoints, workload

    if options.scorers:
        return options.scorers / SAMPLE.get(metric, "")
    captions = [text for _, text in workload.table(options.data / workload.CAPTIONS)]
    gpt2 = options.data.parent / "tokenizers" / "gpt2"
    return checkpoints.write(metric, options.checkpoints, captions, gpt2)


def print_table(options: argparse.Namespace) -> None:
    from scoring import measure, workload

    work = workload.load(options.data, options.captions)
    print("\nSeconds per caption. second: other candidates for the same references")
    print("Ratios: official to radcap, and second to radcap")
    print(f"official ROUGE: {'through evaluate' if importlib.util.find_spec('evaluate') else 'rouge_score alone'}")
    print(
        f"{'metric':<11}{'official':>10}{'on':>6}{'radcap':>10}{'ratio':>8}{'second':>10}{'ratio':>7}{'difference':>12}"
    )
    for metric in options.metrics:
        count = options.official or OFFICIAL.get(metric, options.captions)
        selected = workload.evenly_spaced(options.captions, count)
        result = measure.compare(metric, checkpoint(options, metric), work, selected)
        print(
            f"{metric:<11}{result.official:>10.5f}{result.count:>6}{result.radcap:>10.5f}{result.ratio:>7.1f}x"
            f"{result.second:>10.5f}{result.second / result.radcap:>7.2f}{result.difference:>12.1e}",
            flush=True,
        )
    if "similarity" in options.metrics:
        new, cached = measure.image_seconds(checkpoint(options, "similarity"), work)
        print(f"similarity, per image (narrow tower): {new:.3f} s; cached by an earlier call: {cached:.5f} s")


def print_half(options: argparse.Namespace) -> None:
    from scoring import measure, workload

    work = workload.load(options.data, options.captions)
    print(f"\nbfloat16\n{'metric':<11}{'float32':>10}{'bfloat16':>10}{'ratio':>8}{'mean change':>12}{'largest':>10}")
    for metric in (name for name in options.metrics if name in NETWORKS):
        result = measure.compare_bfloat16(metric, checkpoint(options, metric), work)
        print(
            f"{metric:<11}{result.full:>10.5f}{result.half:>10.5f}{result.full / result.half:>7.1f}x"
            f"{result.mean:>12.1e}{result.largest:>10.1e}",
            flush=True,
        )


def print_scale(options: argparse.Namespace) -> None:
    from scoring import measure

    scorers = [f"--scorers={options.scorers}"] if options.scorers else []
    shared = [
        *scorers,
        f"--data={options.data}",
        f"--checkpoints={options.checkpoints}",
        f"--threads={options.threads}",
    ]
    print(f"\nScale\n{'metric':<11}{'captions':>9}{'seconds':>9}{'second':>9}{'peak GiB':>10}{'before':>11}")
    for metric in options.metrics:
        for size in options.sizes:
            result = measure.measure_in_new_process(metric, size, shared)
            print(
                f"{metric:<11}{size:>9}{result.seconds:>9.1f}{result.second:>9.1f}"
                f"{result.peak:>10.2f}{result.idle:>11.2f}",
                flush=True,
            )


def print_point(options: argparse.Namespace) -> None:
    from scoring import measure, workload

    (metric,) = options.metrics
    work = workload.load(options.data, options.captions)
    print(measure.to_json(measure.measure_scale(metric, checkpoint(options, metric), work)))


if __name__ == "__main__":
    main()
