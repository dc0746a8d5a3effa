"""What a training run tells: rows of its log, and progress for people."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from transformers import TrainerCallback

from radcap.progress import Progress
from radcap.train.phases import trainable

Row = dict[str, float]
Listener = Callable[[Row], None]


class Report(TrainerCallback):  # type: ignore[misc]
    """Collects the log's rows, and shows how far training is, with its losses, rate and time left.

    Each row reaches the listener once, also where a run begins again.
    """

    def __init__(self, label: str, listen: Listener | None) -> None:
        self.label, self.listen, self.told = label, listen, 0
        self.rows: list[Row] = []
        self.progress: Progress | None = None

    def begin(self, rows: list[Row]) -> None:
        """The log so far, of a run that goes on from a state; empty: the run begins."""
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
        logs = logs or {}
        if "loss" not in logs and "eval_loss" not in logs:
            return
        row: Row = {"step": state.global_step, "epoch": round(float(state.epoch or 0), 4)}
        row |= {name: logs[name] for name in ("loss", "learning_rate", "grad_norm") if name in logs}
        row["trainable"] = trainable(model)
        row |= {f"valid_{name[5:]}": value for name, value in logs.items() if name in ("eval_loss", "eval_rouge1")}
        self._keep({name: round(value, 8) if isinstance(value, float) else value for name, value in row.items()})
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
        if self.listen and len(self.rows) > self.told:
            self.told = len(self.rows)
            self.listen(row)
