"""Training code that all miniature scorers share: seeding, batches of similar length, AdamW, and progress."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from radcap import seeds
from radcap.runtime.progress import track

BATCH_SIZE, WARMUP_SHARE, WEIGHT_DECAY, MAX_GRAD_NORM = 32, 0.1, 0.01, 1.0
# Texts are sorted by length within groups of this many batches.
BATCHES_PER_GROUP = 32


@contextlib.contextmanager
def seeded_single_thread(seed: int, metric: str) -> Iterator[np.random.Generator]:
    """Run the block with torch on one thread, seeded for this metric whatever ran before; yield a seeded generator.

    It is always one thread, because the number of threads decides the last digits of a sum.
    """
    threads = torch.get_num_threads()
    try:
        yield np.random.default_rng(seeds.set_seed(seed, "scorers", metric, threads=1))
    finally:
        torch.set_num_threads(threads)


def endless_batches(lengths: Sequence[int], rng: np.random.Generator) -> Iterator[list[int]]:
    """Yield batches of up to BATCH_SIZE indices of texts of similar length, in random order, without end."""
    while True:
        order = rng.permutation(len(lengths)).tolist()
        for start in range(0, len(order), BATCHES_PER_GROUP * BATCH_SIZE):
            group = sorted(order[start : start + BATCHES_PER_GROUP * BATCH_SIZE], key=lambda index: lengths[index])
            batches = [group[first : first + BATCH_SIZE] for first in range(0, len(group), BATCH_SIZE)]
            for number in rng.permutation(len(batches)):
                yield batches[number]


def train(
    parameters: Iterable[nn.Parameter],
    next_loss: Callable[[], Tensor],
    *,
    steps: int,
    learning_rate: float,
    label: str,
) -> None:
    """Take `steps` steps of AdamW, each on the loss of a new batch. Linear warm-up, then linear decay to zero.

    RuntimeError: a gradient is not finite.
    """
    weights = list(parameters)
    optimizer = torch.optim.AdamW(weights, lr=learning_rate, weight_decay=WEIGHT_DECAY, fused=True)
    warmup = max(WARMUP_SHARE * steps, 1)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warmup, (steps - step) / max(steps - warmup, 1))
    )
    for _ in track(range(steps), total=steps, label=label):
        optimizer.zero_grad()
        next_loss().backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(weights, MAX_GRAD_NORM, error_if_nonfinite=True)
        optimizer.step()
        schedule.step()
