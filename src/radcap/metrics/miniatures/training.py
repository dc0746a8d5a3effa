"""What the small models' trainings share: seeds and a thread of their own, batches, AdamW, and progress."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from radcap import seeds
from radcap.runtime.progress import track

BATCH, WARMUP, DECAY, LARGEST_GRADIENT = 32, 0.1, 0.01, 1.0
# So many batches at a time are made of texts of similar length.
SORTED = 32


@contextlib.contextmanager
def alone(seed: int, metric: str) -> Iterator[np.random.Generator]:
    """Torch on one thread and seeded for this metric alone, whatever ran before; yields a generator as seeded.

    One thread always: how many there are decides a sum's last digits.
    """
    threads = torch.get_num_threads()
    try:
        yield np.random.default_rng(seeds.set_seed(seed, "scorers", metric, threads=1))
    finally:
        torch.set_num_threads(threads)


def batches(lengths: Sequence[int], rng: np.random.Generator) -> Iterator[list[int]]:
    """Endless batches of up to BATCH indices of texts of similar length, in random order."""
    while True:
        order = rng.permutation(len(lengths)).tolist()
        for start in range(0, len(order), SORTED * BATCH):
            group = sorted(order[start : start + SORTED * BATCH], key=lambda index: lengths[index])
            parts = [group[at : at + BATCH] for at in range(0, len(group), BATCH)]
            for number in rng.permutation(len(parts)):
                yield parts[number]


def descend(
    parameters: Iterable[nn.Parameter], loss: Callable[[], Tensor], *, steps: int, rate: float, label: str
) -> None:
    """That many steps of AdamW down the `loss` of a new batch each; the rate rises, then falls to zero linearly.

    RuntimeError: gradients that are not finite.
    """
    weights = list(parameters)
    optimizer = torch.optim.AdamW(weights, lr=rate, weight_decay=DECAY, fused=True)
    warm = max(WARMUP * steps, 1)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warm, (steps - step) / max(steps - warm, 1))
    )
    for _ in track(range(steps), total=steps, label=label):
        optimizer.zero_grad()
        loss().backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(weights, LARGEST_GRADIENT, error_if_nonfinite=True)
        optimizer.step()
        schedule.step()
