"""The log of a training run, and its progress on the terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

from transformers import TrainerCallback

Row = dict[str, float]
Listener = Callable[[Row], None]
# (what the Trainer logs, its state, the model) -> a row of the log, or None
RowMaker = Callable[[dict[str, float], Any, Any], Row | None]


class LogCallback(TrainerCallback):  # type: ignore[misc]
    """Collects the rows of the log, and shows the progress: loss, steps per second and remaining time.

    On a terminal it shows a progress bar, elsewhere it prints lines. Each row reaches the listener once, even when a
    run starts again.
    """

    def __init__(self, label: str, make_row: RowMaker, listener: Listener | None) -> None:
        self.label, self.make_row, self.listener, self.rows_sent = label, make_row, listener, 0
        self.rows: list[Row] = []
        self.bar: Any = None

    def begin(self, rows: list[Row]) -> None:
        """Start with the log so far, from the checkpoint of a resumed run; empty for a new run."""
        self.rows = []
        for row in rows:
            self._keep(row)

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.start, self.first = time.monotonic(), state.global_step
        self.close()
        if sys.stderr.isatty() and state.is_world_process_zero:
            from tqdm import tqdm

            self.bar = tqdm(total=state.max_steps, initial=self.first, desc=self.label, unit="step", file=sys.stderr)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self.bar is not None:
            self.bar.update(state.global_step - self.bar.n)

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, model: Any = None, **_: Any
    ) -> None:
        row = self.make_row(logs or {}, state, model)
        if row is not None:
            self._keep(row)
            self._show(row, state)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.close()

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None

    def _keep(self, row: Row) -> None:
        self.rows.append(row)
        if self.listener and len(self.rows) > self.rows_sent:
            self.rows_sent = len(self.rows)
            self.listener(row)

    def _show(self, row: Row, state: Any) -> None:
        figures = {name: f"{row[name]:.4f}" for name in ("loss", "valid_loss", "valid_rouge1") if name in row}
        if self.bar is not None:
            self.bar.set_postfix(figures)
        elif "valid_loss" in row or len(self.rows) % 8 == 0:
            rate = (state.global_step - self.first) / max(time.monotonic() - self.start, 1e-9)
            left = (state.max_steps - state.global_step) / max(rate, 1e-9)
            shown = ", ".join(f"{name} {value}" for name, value in figures.items())
            print(f"{self.label}: step {state.global_step}/{state.max_steps}, {shown}, {rate:.1f}/s, {left:.0f} s left")
