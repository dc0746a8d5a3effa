"""Tokens per second, MFU and peak memory of a full-size training step on one GPU, with each lever on and off.

python benchmarks/train_gpu.py (from the root)                  LLaVA-1.5-7B, Qwen2-VL-2B, SmolVLM-500M
python benchmarks/train_gpu.py --models llava_1_5_7b --batch-size 16
python benchmarks/train_gpu.py --profile                        also the time of a step by kernel
python benchmarks/train_gpu.py --tiny                           miniatures on the CPU, to see that it runs

Random weights in bfloat16, targeted LoRA of rank 16 in float32, random images and captions of realistic shapes:
forward, loss, backward, clipping and fused AdamW. Tokens are all positions of the language model.

MFU = floating-point operations that a step needs / (seconds * peak of the device). A step needs 2 per weight and
position forward, 2 for the gradients of the inputs of parts with adapters in or before them, and 2 per trainable
weight; for the attention 4 * layers * width * positions ** 2 forward and twice that backward; the head only at the
positions of the caption. Operations that are repeated or useless do not count (training/full_size.py).
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from typing import Any

# Must be set before the libraries are imported. Nothing is downloaded.
os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}

MODELS = ("llava_1_5_7b", "qwen2_vl_2b", "smolvlm_500m")
# Dense bfloat16 operations per second, from the vendors' data sheets.
PEAKS = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "4090": 165e12}
# name -> (every n-th layer recomputes, logits only at labels, no gradients for the inputs of frozen parts)
LEVERS: dict[str, tuple[int, bool, bool]] = {
    "no layer recomputed": (0, True, True),
    "every 2nd layer recomputed": (2, True, True),
    "every layer recomputed": (1, True, True),
    "every layer, input gradients in frozen parts": (1, True, False),
    "logits at all positions": (0, False, True),
    "logits at all positions, every layer recomputed": (1, False, True),
}


def main() -> None:
    options = arguments()
    import torch

    cuda = torch.cuda.is_available() and not options.tiny
    if not cuda and not options.tiny:
        raise SystemExit("there is no CUDA GPU; use --tiny to see that it runs")
    name = torch.cuda.get_device_name() if cuda else "CPU"
    peak = options.peak * 1e12 or next((p for n, p in PEAKS.items() if n in name), 0.0)
    peak_text = f"peak {peak / 1e12:.0f} TFLOP/s" if peak else "peak unknown (see --peak), no MFU"
    print(f"torch {torch.__version__}, {name}, {peak_text}, batches of {options.batch_size}\n")
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
    add("--caption", type=int, default=60, help="tokens per caption (60)")
    add("--steps", type=int, default=10, help="measured steps, after three warm-up steps")
    add("--peak", type=float, default=0.0, help="the device's dense bfloat16 TFLOP/s")
    add("--profile", action="store_true")
    add("--tiny", action="store_true")
    return parser.parse_args()


def row(key: str, levers: str, options: argparse.Namespace, *, peak: float, device: str) -> str:
    import torch
    from training.full_size import build_model, example_cost, random_batch

    try:
        family, model, config = build_model(key, tiny=options.tiny, device=device)
        inputs = random_batch(config, size=options.batch_size, caption=options.caption, device=device)
        flops = options.batch_size * example_cost(family, model, config, inputs).flops()
        seconds, memory = measure(model, inputs, levers, options, device)
    except torch.OutOfMemoryError:
        return f"| {key} | {levers} | out of memory | | | |"
    finally:
        model = None
        if device == "cuda":
            torch.cuda.empty_cache()
    tokens = inputs["input_ids"].numel() / seconds
    mfu = f"{100 * flops / seconds / peak:.1f} %" if peak else ""
    return f"| {key} | {levers} | {tokens:,.0f} | {options.batch_size / seconds:.2f} | {mfu} | {memory:.1f} |"


def measure(
    model: Any, inputs: dict[str, Any], levers: str, options: argparse.Namespace, device: str
) -> tuple[float, float]:
    """Median seconds per step, and peak GiB."""
    import torch

    from radcap.train.backend import enable_activation_checkpointing
    from radcap.train.loss import caption_loss, predicting_positions

    every_n_layers, only_labels, frozen_parts_skipped = LEVERS[levers]
    enable_activation_checkpointing(model, every_n_layers)
    if not frozen_parts_skipped:
        model.enable_input_require_grads()
    labels = inputs["labels"]
    model_inputs = {n: t for n, t in inputs.items() if n != "labels"}
    model_inputs |= {"logits_to_keep": predicting_positions(labels)} if only_labels else {}
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4, weight_decay=0.0, fused=True)
    model.train()
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()

    def step() -> None:
        caption_loss(model(**model_inputs), labels).backward()
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
    """Print the kernels that take most of the time of a step."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU, *[ProfilerActivity.CUDA] * (device == "cuda")]) as result:
        step()
    print(result.key_averages().table(sort_by=f"self_{device}_time_total", row_limit=15))


if __name__ == "__main__":
    main()
