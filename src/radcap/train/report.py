"""What a training run tells: rows of its log, and progress for people."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

from transformers import TrainerCallback

from radcap.train.phases import trainable

Row = dict[str, float]
Listener = Callable[[Row], None]


class Report(TrainerCallback):  # type: ignore[misc]
    """Collects the log's rows, and shows a bar on a terminal or prints lines elsewhere, with loss, rate, time left.

    Each row reaches the listener once, also where a run begins again.
    """

    def __init__(self, label: str, listen: Listener | None) -> None:
        self.label, self.listen, self.told = label, listen, 0
        self.rows: list[Row] = []
        self.bar: Any = None

    def begin(self, rows: list[Row]) -> None:
        """The log so far, of a run that goes on from a state; empty: the run begins."""
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
        logs = logs or {}
        if "loss" not in logs and "eval_loss" not in logs:
            return
        row: Row = {"step": state.global_step, "epoch": round(float(state.epoch or 0), 4)}
        row |= {name: logs[name] for name in ("loss", "learning_rate", "grad_norm") if name in logs}
        row["trainable"] = trainable(model)
        row |= {f"valid_{name[5:]}": value for name, value in logs.items() if name in ("eval_loss", "eval_rouge1")}
        self._keep({name: round(value, 8) if isinstance(value, float) else value for name, value in row.items()})
        self._show(row, state)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.close()

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None

    def _keep(self, row: Row) -> None:
        self.rows.append(row)
        if self.listen and len(self.rows) > self.told:
            self.told = len(self.rows)
            self.listen(row)

    def _show(self, row: Row, state: Any) -> None:
        figures = {name: f"{row[name]:.4f}" for name in ("loss", "valid_loss", "valid_rouge1") if name in row}
        if self.bar is not None:
            self.bar.set_postfix(figures)
        elif "valid_loss" in row or len(self.rows) % 8 == 0:
            rate = (state.global_step - self.first) / max(time.monotonic() - self.start, 1e-9)
            left = (state.max_steps - state.global_step) / max(rate, 1e-9)
            told = ", ".join(f"{name} {value}" for name, value in figures.items())
            print(f"{self.label}: step {state.global_step}/{state.max_steps}, {told}, {rate:.1f}/s, {left:.0f} s left")
