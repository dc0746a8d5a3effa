"""The log of a training run, and its progress on the terminal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from transformers import TrainerCallback

from radcap.runtime.progress import Progress

Row = dict[str, float]
Listener = Callable[[Row], None]
# (what the Trainer logs, its state, the model) -> a row of the log, or None
RowMaker = Callable[[dict[str, float], Any, Any], Row | None]


class LogCallback(TrainerCallback):  # type: ignore[misc]
    """Collects the rows of the log, and shows the progress of training: losses, steps per second and remaining time.


    On a terminal it shows a progress bar, elsewhere it prints lines. Each row reaches the listener once, even when a
    run starts again.
    """

    def __init__(self, label: str, make_row: RowMaker, listener: Listener | None) -> None:
        self.label, self.make_row, self.listener, self.rows_sent = label, make_row, listener, 0
        self.rows: list[Row] = []
        self.progress: Progress | None = None

    def begin(self, rows: list[Row]) -> None:
        """Start with the log so far, from the checkpoint of a resumed run; empty for a new run."""
        self.rows = []
        for row in rows:
            self._keep(row)

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.close()
        self.progress = Progress(self.label, state.max_steps, done=state.global_step, unit="step")

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self.progress:
            self.progress.update(state.global_step)

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, model: Any = None, **_: Any
    ) -> None:
        row = self.make_row(logs or {}, state, model)
        if row is None:
            return
        self._keep(row)
        if self.progress:
            figures: Row = {name: row[name] for name in ("loss", "valid_loss", "valid_rouge1") if name in row}
            self.progress.update(state.global_step, figures, milestone="valid_loss" in row)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.close()

    def close(self) -> None:
        if self.progress:
            self.progress.close()
            self.progress = None

    def _keep(self, row: Row) -> None:
        self.rows.append(row)
        if self.listener and len(self.rows) > self.rows_sent:
            self.rows_sent = len(self.rows)
            self.listener(row)
