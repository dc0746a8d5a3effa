"""The output of `radcap repro`: one live display on a terminal, elsewhere plain lines that start with their stage."""

from __future__ import annotations

import re
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from rich.console import Console, RenderableType, group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from radcap.errors import Interrupted
from radcap.runtime import progress
from radcap.runtime.progress import duration

State = Literal["waiting", "checking", "running", "done", "up to date", "failed", "stopped"]
ENDED = ("done", "up to date")
STYLES = {"running": "cyan", "done": "green", "up to date": "dim", "failed": "bold red", "stopped": "red"}
# A narrower terminal has no room for a bar beside the figures.
WIDE = 100


@dataclass
class Lane:
    """A lane's current stage, the file with its progress, and its start time."""

    stage: str
    file: Path
    start: float = field(default_factory=time.monotonic)


class Display:
    """The state of every stage and what each lane does. Every thread may call it."""

    def __init__(self, stages: Sequence[str], *, lanes: int) -> None:
        self.states: dict[str, State] = dict.fromkeys(stages, "waiting")
        self.lanes: list[Lane | None] = [None] * lanes
        self.start = time.monotonic()
        self.console = Console(highlight=False, markup=False)
        draws = sys.stdout.isatty() and not self.console.is_dumb_terminal
        self.live = Live(console=self.console, get_renderable=self._drawn) if draws else None

    def __enter__(self) -> Display:
        if self.live:
            self.live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for stage, state in self.states.items():
            if state in ("checking", "running"):
                self.states[stage] = "stopped"
        if self.live:
            self.live.stop()
        elif kind is None or not issubclass(kind, Interrupted):
            self.console.print(self.summary())

    def unchanged(self, stages: Sequence[str]) -> None:
        """These stages are up to date from the start."""
        self.states.update(dict.fromkeys(stages, "up to date"))

    def check(self, stage: str, lane: int, file: Path) -> None:
        """A lane checks a stage, which may be up to date."""
        self.states[stage] = "checking"
        self.lanes[lane] = Lane(stage, file)

    def run(self, stage: str, lane: int, file: Path) -> None:
        """A stage runs."""
        self.states[stage] = "running"
        self.lanes[lane] = Lane(stage, file)
        self._log(stage, "runs")

    def end(self, stage: str, lane: int, state: State) -> None:
        """A lane has finished a stage."""
        current = self.lanes[lane]
        if current and current.stage == stage:
            self.lanes[lane] = None
        if self.states.get(stage) in ENDED:
            return
        self.states[stage] = state
        took = f" in {duration(time.monotonic() - current.start)}" if current and state == "done" else ""
        self._log(stage, f"{state}{took}")

    def line(self, stage: str, text: str) -> None:
        """Print a line of the output of a stage."""
        start = Text(f"{stage} | ", style="dim")
        # Wrap lines on a terminal only.
        self.console.print(start + Text.from_ansi(without_label(stage, text)), soft_wrap=self.live is None)

    def failure(self, title: str, lines: Sequence[str]) -> None:
        """Print the last lines of a failed stage, after the live display has ended."""
        self.console.print(Text(title, style="bold red"))
        for line in lines:
            self.console.print(Text(f"  {line}".rstrip(), style="red"), soft_wrap=True)

    def summary(self) -> str:
        counts = Counter(self.states.values())
        text = f"{counts['done'] + counts['up to date']} of {len(self.states)} stages done"
        text += f" ({counts['up to date']} were up to date)" if counts["up to date"] else ""
        return f"{text}, {duration(time.monotonic() - self.start)}"

    def _log(self, stage: str, text: str) -> None:
        if not self.live:
            self.line(stage, text)

    @group()
    def _drawn(self) -> Iterator[RenderableType]:
        yield Text(self.summary(), style="bold", no_wrap=True, overflow="ellipsis")
        if any(self.lanes):
            yield self._lanes()
        yield self._stages()

    def _lanes(self) -> Table:
        table = Table.grid(padding=(0, 2))
        for _ in range(4):
            table.add_column(no_wrap=True, overflow="ellipsis")
        for number, lane in enumerate(list(self.lanes), start=1):
            name = Text(f"lane {number}", style="dim")
            if lane is None:
                table.add_row(name)
                continue
            status = progress.read(lane.file)
            state = f"{self.states[lane.stage]} for {duration(time.monotonic() - lane.start)}"
            text: RenderableType = Text(state, style="dim")
            bar: RenderableType = ""
            if status:
                # A narrow terminal cuts the end, so the least important comes last.
                parts = [*status.speed()[::-1], *status.figure_texts(), status.count()]
                text = without_label(lane.stage, f"{status.label}: {', '.join(parts)}")
                bar = ProgressBar(status.total, status.done, width=12) if self.console.width >= WIDE else ""
            table.add_row(name, Text(lane.stage, style="cyan"), bar, text)
        return table

    def _stages(self) -> Table:
        """A row for each model, then a row for each stage that all models share."""
        parts = [stage.partition("@") for stage in self.states]
        kinds = list(dict.fromkeys(kind for kind, _, key in parts if key))
        keys = list(dict.fromkeys(key for _, _, key in parts if key))
        shared = [kind for kind, _, key in parts if not key]
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
        for name in ("", *kinds):
            table.add_column(name, no_wrap=True)
        for key in keys:
            table.add_row(key, *(self._state(f"{kind}@{key}") for kind in kinds))
        for stage in shared:
            table.add_row(stage, self._state(stage))
        return table

    def _state(self, stage: str) -> Text:
        state = self.states.get(stage, "waiting")
        return Text("" if state == "waiting" else state, style=STYLES.get(state, ""))


def without_label(stage: str, text: str) -> str:
    """Remove the name of the stage from a line of its output, because each line starts with it already."""
    kind, _, key = stage.partition("@")
    return re.sub(rf"^{re.escape(kind)}( {re.escape(key)})?[:,]? ", "", text)
