"""The no-image control: captions that belong to other images score what a model knows without looking."""

from collections.abc import Sequence


def shuffled(captions: Sequence[str]) -> list[str]:
    """Each image gets the caption of the image half the split away: none keeps its own, and no draw is involved."""
    half = len(captions) // 2
    return [*captions[half:], *captions[:half]]
