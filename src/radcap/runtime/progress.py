"""Progress of a loop: a bar on a terminal, plain lines in a log, or a small file that `radcap repro` reads."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from radcap.runtime import processes

# Environment variable: the file from which `radcap repro` reads the progress of a stage's current loop.
VARIABLE = "RADCAP_PROGRESS"
Item = TypeVar("Item")


def duration(seconds: float) -> str:
    """18 s, 3:12 or 1:02:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}" if minutes else f"{rest} s"


@dataclass(frozen=True)
class Status:
    """Progress of a loop. `rate` is in items per second, 0 before the first; `figures` are e.g. the current loss."""

    label: str
    done: int
    total: int
    unit: str
    figures: Mapping[str, float]
    rate: float

    def count(self) -> str:
        return f"{self.unit} {self.done}/{self.total}".strip()

    def figure_texts(self) -> list[str]:
        """The figures as text, e.g. "loss 1.2345"."""
        return [f"{name} {value:.4f}" for name, value in self.figures.items()]

    def speed(self) -> list[str]:
        """Rate and remaining time as text; empty before the first item."""
        if not self.rate:
            return []
        rate = f"{self.rate:.1f}/s" if self.rate >= 1 else f"{1 / self.rate:.1f} s each"
        left = (self.total - self.done) / self.rate
        return [rate, f"{duration(left)} left"] if left else [rate]

    def text(self) -> str:
        return ", ".join([self.count(), *self.figure_texts(), *self.speed()])


class Progress:
    """Shows the progress of a loop of `total` items, in the main process. `done` of them are from an earlier run."""

    def __init__(self, label: str, total: int, *, done: int = 0, unit: str = "") -> None:
        self.label, self.total, self.unit = label, total, unit
        self.first, self.start = done, time.monotonic()
        self.figures: dict[str, float] = {}
        self.view = _view() if processes.is_main_process() else None
        self.update(done)

    def update(self, done: int, figures: Mapping[str, float] | None = None, *, milestone: bool = False) -> None:
        """`done` items are finished. `figures` replace earlier ones of that name. A log gets a line at milestones."""
        self.figures |= figures or {}
        if self.view:
            rate = (done - self.first) / max(time.monotonic() - self.start, 1e-9)
            self.view.show(Status(self.label, done, self.total, self.unit, self.figures, rate), milestone=milestone)

    def close(self) -> None:
        if self.view:
            self.view.close()
            self.view = None


def track(items: Iterable[Item], *, total: int, label: str) -> Iterator[Item]:
    """Yield the items and show the progress."""
    progress = Progress(label, total)
    try:
        for number, item in enumerate(items, start=1):
            yield item
            progress.update(number)
    finally:
        progress.close()


class _View(Protocol):
    def show(self, status: Status, *, milestone: bool) -> None: ...

    def close(self) -> None: ...


def _view() -> _View:
    if path := os.environ.get(VARIABLE):
        return _File(Path(path))
    return _Bar() if sys.stderr.isatty() else _Lines()


class _File:
    """Writes the status to a JSON file for a display of several loops, and deletes it when the loop ends."""

    INTERVAL = 0.2

    def __init__(self, path: Path) -> None:
        self.path, self.last_shown = path, 0.0

    def show(self, status: Status, *, milestone: bool) -> None:
        if time.monotonic() - self.last_shown < self.INTERVAL:
            return
        self.last_shown = time.monotonic()
        partial = self.path.with_suffix(".part")
        # The work continues when nobody reads the file, or the disk is full.
        with contextlib.suppress(OSError):
            partial.write_text(json.dumps(asdict(status)), encoding="utf-8")
            partial.replace(self.path)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)


def read(path: Path) -> Status | None:
    """The content of a progress file; None if no loop is running."""
    try:
        return Status(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


class _Bar:
    """A progress bar of rich. This thread draws it: a fork of a process with a drawing thread may hang."""

    INTERVAL = 0.1

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        label, text = (TextColumn(f"{{task.{name}}}", markup=False) for name in ("description", "fields[text]"))
        self.bar = Progress(label, BarColumn(), text, console=Console(stderr=True), auto_refresh=False)
        self.task = self.bar.add_task("", text="")
        self.last_shown = 0.0
        self.bar.start()
        # Show the cursor again after an interrupted loop.
        atexit.register(self.bar.stop)

    def show(self, status: Status, *, milestone: bool) -> None:
        self.bar.update(
            self.task,
            description=status.label,
            total=status.total,
            completed=status.done,
            text=status.text(),
        )
        if time.monotonic() - self.last_shown >= self.INTERVAL:
            self.last_shown = time.monotonic()
            self.bar.refresh()

    def close(self) -> None:
        self.bar.refresh()
        self.bar.stop()
        atexit.unregister(self.bar.stop)


class _Lines:
    """Prints a line for every tenth of a long loop, after a long silence, and at milestones."""

    # Loops of fewer items print nothing. Lines are so many seconds apart, at least and at most.
    SHORT, LEAST, MOST = 100, 1.0, 60.0

    def __init__(self) -> None:
        self.last_shown = time.monotonic()

    def show(self, status: Status, *, milestone: bool) -> None:
        silence = time.monotonic() - self.last_shown
        is_tenth = status.done % max(status.total // 10, 1) == 0 or status.done == status.total
        is_due = silence > self.MOST or (is_tenth and silence > self.LEAST)
        if milestone or (status.total >= self.SHORT and is_due):
            self.last_shown = time.monotonic()
            print(f"{status.label}: {status.text()}", file=sys.stderr, flush=True)

    def close(self) -> None:
        pass
