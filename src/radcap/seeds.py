"""Seeds that derive from (seed, stage, model): never from order or time."""

import hashlib
import random

import numpy as np


def derive(seed: int, *parts: str) -> int:
    """A 32-bit seed for a stage and model: the first bytes of a SHA-256 over the parts."""
    digest = hashlib.sha256("\0".join([str(seed), *parts]).encode()).digest()
    return int.from_bytes(digest[:4], "big")


def fix(seed: int, *parts: str, threads: int) -> int:
    """Seed Python, NumPy and torch for a stage, fix torch's threads, and return the derived seed.

    The number of threads decides how sums are split, so it decides their last digits.
    """
    import torch

    derived = derive(seed, *parts)
    random.seed(derived)
    np.random.seed(derived)
    torch.manual_seed(derived)
    torch.set_num_threads(threads)
    return derived
