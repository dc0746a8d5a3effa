"""Progress of a loop: a bar with rate and remaining time on a terminal, plain lines in a log."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")
SILENCE = 1.0


def track(items: Iterable[Item], *, total: int, label: str) -> Iterator[Item]:
    """Yield the items while showing how far it is."""
    if sys.stderr.isatty():
        from tqdm import tqdm

        yield from tqdm(items, total=total, desc=label, unit="", file=sys.stderr)
        return
    start = time.monotonic()
    tenth, told = max(total // 10, 1), start
    for number, item in enumerate(items, start=1):
        yield item
        # What is over in a moment is not worth a line.
        if total >= 100 and (number % tenth == 0 or number == total) and time.monotonic() - told > SILENCE:
            told = time.monotonic()
            rate = number / max(time.monotonic() - start, 1e-9)
            left = (total - number) / rate
            print(f"{label}: {number}/{total}, {rate:.1f}/s, {left:.0f} s left", file=sys.stderr)
