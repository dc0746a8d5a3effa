"""Tokens a second, MFU and peak memory of a training step at full size, on one GPU, with each lever on and off.

python benchmarks/train_gpu.py (from the root)                  LLaVA-1.5-7B, Qwen2-VL-2B, SmolVLM-500M
python benchmarks/train_gpu.py --models llava_1_5_7b --batch-size 16
python benchmarks/train_gpu.py --profile                        and where the time of a step goes, by kernel
python benchmarks/train_gpu.py --tiny                           miniatures on the CPU: does it run

Random weights in bfloat16, targeted LoRA of rank 16 in float32, random pictures and captions of the right shapes:
forward, the one loss, backward, clipping and fused AdamW. Tokens are all positions that the language model sees.

MFU = floating-point operations that a step needs / (seconds * the device's peak). Needed are 2 per weight and position
forward, 2 for the gradient of its input where adapters lie below, 2 per trained weight; attention 4 * layers * width *
positions ** 2 forward and twice that backward; the head at the caption's positions alone. What is computed twice, or
for nothing, does not count (training/full_size.py).
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from typing import Any

# Before the libraries are imported; nothing here comes from a hub.
os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}

MODELS = ("llava_1_5_7b", "qwen2_vl_2b", "smolvlm_500m")
# Dense bfloat16 operations a second, by the makers' data sheets.
PEAKS = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "4090": 165e12}
# name -> (every so-many-th layer recomputes, logits on labels alone, frozen parts left alone)
LEVERS: dict[str, tuple[int, bool, bool]] = {
    "all, nothing recomputed": (0, True, True),
    "every 2nd layer recomputed": (2, True, True),
    "every layer recomputed": (1, True, True),
    "every layer, inputs' gradients everywhere": (1, True, False),
    "logits everywhere": (0, False, True),
    "logits everywhere, every layer recomputed": (1, False, True),
}


def main() -> None:
    options = arguments()
    import torch

    cuda = torch.cuda.is_available() and not options.tiny
    if not cuda and not options.tiny:
        raise SystemExit("no CUDA GPU is here; --tiny shows that it runs")
    name = torch.cuda.get_device_name() if cuda else "CPU"
    peak = options.peak * 1e12 or next((p for n, p in PEAKS.items() if n in name), 0.0)
    told = f"peak {peak / 1e12:.0f} TFLOP/s" if peak else "peak unknown (--peak): no MFU"
    print(f"torch {torch.__version__}, {name}, {told}, batches of {options.batch_size}\n")
    print("| model | levers | tokens/s | samples/s | MFU | peak GiB |")
    print("|---|---|---:|---:|---:|---:|")
    for key in options.models:
        for levers in LEVERS:
            print(row(key, levers, options, peak=peak, device="cuda" if cuda else "cpu"), flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--models", nargs="+", choices=MODELS, default=MODELS)
    add("--batch-size", type=int, default=8)
    add("--caption", type=int, default=60, help="tokens of a caption (60)")
    add("--steps", type=int, default=10, help="measured steps, after three others")
    add("--peak", type=float, default=0.0, help="the device's dense bfloat16 TFLOP/s")
    add("--profile", action="store_true")
    add("--tiny", action="store_true")
    return parser.parse_args()


def row(key: str, levers: str, options: argparse.Namespace, *, peak: float, device: str) -> str:
    import torch
    from training.full_size import batch_of, counted, model_of

    try:
        adapter, model, config = model_of(key, tiny=options.tiny, device=device)
        inputs = batch_of(config, size=options.batch_size, caption=options.caption, device=device)
        flops = options.batch_size * counted(adapter, model, config, inputs).flops()
        seconds, memory = measured(model, inputs, levers, options, device)
    except torch.OutOfMemoryError:
        return f"| {key} | {levers} | out of memory | | | |"
    finally:
        model = None
        if device == "cuda":
            torch.cuda.empty_cache()
    tokens = inputs["input_ids"].numel() / seconds
    mfu = f"{100 * flops / seconds / peak:.1f} %" if peak else ""
    return f"| {key} | {levers} | {tokens:,.0f} | {options.batch_size / seconds:.2f} | {mfu} | {memory:.1f} |"


def measured(
    model: Any, inputs: dict[str, Any], levers: str, options: argparse.Namespace, device: str
) -> tuple[float, float]:
    """Median seconds of a step, and peak GiB."""
    import torch

    from radcap.train.backend import recompute_layers
    from radcap.train.loss import caption_loss, predicting_positions

    every, labels_alone, towers = LEVERS[levers]
    recompute_layers(model, every)
    if not towers:
        model.enable_input_require_grads()
    labels = inputs["labels"]
    given = {n: t for n, t in inputs.items() if n != "labels"}
    given |= {"logits_to_keep": predicting_positions(labels)} if labels_alone else {}
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4, weight_decay=0.0, fused=True)
    model.train()
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()

    def step() -> None:
        caption_loss(model(**given), labels).backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    times = []
    for _ in range(3 + options.steps):
        start = time.perf_counter()
        step()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    if options.profile:
        show_profile(step, device)
    memory = torch.cuda.max_memory_allocated() / 2**30 if device == "cuda" else 0.0
    return statistics.median(times[3:]), memory


def show_profile(step: Any, device: str) -> None:
    """The kernels that take most of a step."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU, *[ProfilerActivity.CUDA] * (device == "cuda")]) as found:
        step()
    print(found.key_averages().table(sort_by=f"self_{device}_time_total", row_limit=15))


if __name__ == "__main__":
    main()
