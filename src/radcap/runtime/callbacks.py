"""What happens between the steps of a Trainer: checks for non-finite losses, and decides when to save a checkpoint."""

from __future__ import annotations

import time
from typing import Any

import torch
from accelerate.utils import broadcast_object_list
from transformers import TrainerCallback

from radcap.errors import UserError
from radcap.runtime.checkpoints import read_progress
from radcap.settings import Resume


class UnloggedLossCallback(TrainerCallback):  # type: ignore[misc]
    """Restores the losses since the last row of the log, which the Trainer forgets when it resumes."""

    def __init__(self, trainer: Any) -> None:
        self.trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self.trainer.start:
            progress = read_progress(self.trainer.start)
            self.trainer._tr_loss += progress["sums"][args.process_index]
            self.trainer._globalstep_last_logged = progress["since"]


class FiniteLossCallback(TrainerCallback):  # type: ignore[misc]
    """Stops the run before a non-finite loss reaches the weights, and names the images of that micro-batch."""

    def __init__(self, trainer: Any) -> None:
        self.trainer = trainer

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        micro_batches, self.trainer.micro_batches = self.trainer.micro_batches, []
        finite = torch.stack([loss for _, loss in micro_batches]).isfinite().tolist()
        if not all(finite):
            rows, loss = micro_batches[finite.index(False)]
            ids = self.trainer.train_dataset.rows[[row for row in rows.tolist() if row >= 0]]["id"]
            raise UserError(
                f"{self.trainer.log_callback.label}: the loss is {loss.item()} at step {state.global_step + 1} "
                f"(learning rate {self.trainer._get_learning_rate():.3g}, images {', '.join(ids)}); "
                "lower the learning rate or check these images"
            )


def validation_loss_error(label: str, loss: float, *, step: int) -> UserError:
    """The error for a non-finite validation loss."""
    return UserError(f"{label}: the validation loss is {loss} at step {step}")


class CheckpointCallback(TrainerCallback):  # type: ignore[misc]
    """Asks the Trainer for checkpoints, by elapsed seconds and by steps.

    None is written after the last step, nor between the last step of an epoch and its validation.
    """

    def __init__(self, resume: Resume) -> None:
        self.resume, self.last_save, self.due = resume, time.monotonic(), False

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        overdue = _of_main_process(time.monotonic() - self.last_save >= self.resume.every_seconds > 0)
        self.due |= overdue or (self.resume.every_steps > 0 and state.global_step % self.resume.every_steps == 0)
        if not float(state.epoch).is_integer():
            self._ask(state, control)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._ask(state, control)

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.last_save, self.due = time.monotonic(), False

    def _ask(self, state: Any, control: Any) -> None:
        control.should_save = self.due and state.global_step < state.max_steps


def _of_main_process(answer: bool) -> bool:
    """The answer of the main process, in all processes."""
    answers = [answer]
    broadcast_object_list(answers)
    return answers[0]
