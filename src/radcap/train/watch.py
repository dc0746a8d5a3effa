"""What a trainer looks after between steps: finite losses, states in time, the log across a kill."""

from __future__ import annotations

import time
from typing import Any

import torch
from accelerate.utils import broadcast_object_list
from transformers import TrainerCallback

from radcap import files
from radcap.errors import UserError
from radcap.settings import Resume


class Unlogged(TrainerCallback):  # type: ignore[misc]
    """The Trainer forgets the losses since the last row of the log when it goes on from a state."""

    def __init__(self, trainer: Any) -> None:
        self.trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self.trainer.start:
            log = files.read_json(self.trainer.start / "log.json")
            self.trainer._tr_loss += log["sums"][args.process_index]
            self.trainer._globalstep_last_logged = log["since"]


class Finite(TrainerCallback):  # type: ignore[misc]
    """Stops before a loss that is no number reaches the weights."""

    def __init__(self, trainer: Any) -> None:
        self.trainer = trainer

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        seen, self.trainer.seen = self.trainer.seen, []
        fine = torch.stack([loss for _, loss in seen]).isfinite().tolist()
        if not all(fine):
            rows, loss = seen[fine.index(False)]
            ids = self.trainer.train_dataset.rows[[row for row in rows.tolist() if row >= 0]]["id"]
            raise UserError(
                f"{self.trainer.report.label}: the loss is {loss.item()} at step {state.global_step + 1} "
                f"(learning rate {self.trainer._get_learning_rate():.3g}, images {', '.join(ids)}); "
                "lower the learning rate, or look at these images"
            )


class Saving(TrainerCallback):  # type: ignore[misc]
    """Asks for states. Not for one of the last step, nor between an epoch's last step and its validation."""

    def __init__(self, resume: Resume) -> None:
        self.resume, self.last, self.due = resume, time.monotonic(), False

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        late = _agreed(time.monotonic() - self.last >= self.resume.every_seconds > 0)
        self.due |= late or (self.resume.every_steps > 0 and state.global_step % self.resume.every_steps == 0)
        if not float(state.epoch).is_integer():
            self._ask(state, control)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._ask(state, control)

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.last, self.due = time.monotonic(), False

    def _ask(self, state: Any, control: Any) -> None:
        control.should_save = self.due and state.global_step < state.max_steps


def _agreed(yes: bool) -> bool:
    """The first process's answer, in all of them."""
    answer = [yes]
    broadcast_object_list(answer)
    return answer[0]
