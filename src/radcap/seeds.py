"""Seeds are derived from (seed, stage, model), never from order or time."""

import hashlib
import random

import numpy as np


def derive_seed(seed: int, *parts: str) -> int:
    """A 32-bit seed for a stage and model: the first four bytes of the SHA-256 of seed and parts."""
    digest = hashlib.sha256("\0".join([str(seed), *parts]).encode()).digest()
    return int.from_bytes(digest[:4], "big")


def set_seed(seed: int, *parts: str, threads: int) -> int:
    """Seed Python, NumPy and torch for a stage, set torch's number of threads, and return the derived seed.

    The number of threads determines how sums are split, and therefore their last digits.
    """
    import torch

    derived = derive_seed(seed, *parts)
    random.seed(derived)
    np.random.seed(derived)
    torch.manual_seed(derived)
    torch.set_num_threads(threads)
    return derived
