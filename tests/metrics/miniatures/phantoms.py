"""Phantoms as rows of a split, and measures of how well scores rank graded pairs."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image
from scipy.stats import spearmanr

from radcap.data.phantoms.captions import caption
from radcap.data.phantoms.case import Case, sample_case
from radcap.data.phantoms.draw import draw
from radcap.metrics.miniatures.pairs import KINDS, LEVELS, Pair


def picture(case: Case, rng: np.random.Generator) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(draw(case, rng)).save(buffer, "PNG")
    return buffer.getvalue()


def rows(count: int, seed: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    cases = [sample_case(rng) for _ in range(count)]
    return [{"image": picture(case, rng), "caption": caption(case, rng)} for case in cases]


def means(scores: Sequence[float], pairs: Sequence[Pair]) -> dict[str, float]:
    """The mean score of each kind."""
    return {kind: float(np.mean([s for s, p in zip(scores, pairs, strict=True) if p.kind == kind])) for kind in KINDS}


def level_means(scores: Sequence[float], pairs: Sequence[Pair]) -> list[float]:
    """The mean score of each level, the best first."""
    levels = [LEVELS[pair.kind] for pair in pairs]
    return [float(np.mean([s for s, at in zip(scores, levels, strict=True) if at == level])) for level in range(5)]


def correlation(scores: Sequence[float], pairs: Sequence[Pair]) -> float:
    """Spearman's, with the levels from the worst to the best."""
    return float(spearmanr(scores, [-LEVELS[pair.kind] for pair in pairs]).statistic)
