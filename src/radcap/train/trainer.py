"""The Hugging Face Trainer with radcap's order of examples and whole states to go on from."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import Trainer, TrainerCallback
from transformers.trainer import TRAINER_STATE_NAME

from radcap import files
from radcap.errors import UserError
from radcap.settings import Resume
from radcap.train.examples import Examples
from radcap.train.order import Order
from radcap.train.report import Report
from radcap.train.states import States

WEIGHTS, LOG = "weights.safetensors", "log.json"


class CaptionTrainer(Trainer):  # type: ignore[misc]
    """`report` and `states` are this run's; `start` is the state that it goes on from."""

    def __init__(self, *, report: Report, states: States | None, start: Path | None, **options: Any) -> None:
        super().__init__(**options)
        self.report, self.states, self.start = report, states, start
        # All that may change: what trains at last, though a phase freezes it now, and batch norms' buffers.
        self.changing = {n: p for n, p in self.model.named_parameters() if p.requires_grad}
        self.changing |= dict(self.model.named_buffers())
        # (rows, loss) of the micro-batches of a step
        self.seen: list[tuple[torch.Tensor, torch.Tensor]] = []
        self.add_callback(_Unlogged(self))
        self.add_callback(_Finite(self))

    def _get_train_sampler(self, train_dataset: Examples | None = None) -> Order:
        size = self.args.train_batch_size * self.args.gradient_accumulation_steps
        rows = len(self.train_dataset)
        return Order(
            self.train_dataset.caption_lengths,
            batch_size=size,
            seed=self.args.data_seed,
            first_epoch=step_of(self.start) // -(-rows // size) if self.start else 0,
        )

    def compute_loss(self, model: Any, inputs: dict[str, Any], *rest: Any, **options: Any) -> Any:
        """The Trainer's, which keeps in mind which rows a step saw."""
        rows = inputs.pop("row")
        found = super().compute_loss(model, inputs, *rest, **options)
        if model.training:
            self.seen.append((rows, found.detach()))
        return found

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Write a whole state: weights, optimizer, schedule, random numbers, and the log so far."""
        assert self.states is not None
        with self.states.write(self.state.global_step) as folder:
            # Buffers may share memory, which safetensors does not write.
            save_file({name: tensor.detach().clone() for name, tensor in self.changing.items()}, folder / WEIGHTS)
            self._save_optimizer_and_scheduler(str(folder))
            self._save_scaler(str(folder))
            self._save_rng_state(str(folder))
            self.state.save_to_json(str(folder / TRAINER_STATE_NAME))
            log = {"rows": self.report.rows, "sum": self._tr_loss.item(), "since": self._globalstep_last_logged}
            files.write_json(folder / LOG, log)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        stored = load_file(Path(resume_from_checkpoint) / WEIGHTS)
        assert stored.keys() == self.changing.keys()
        with torch.no_grad():
            for name, tensor in self.changing.items():
                tensor.copy_(stored[name])


class _Unlogged(TrainerCallback):  # type: ignore[misc]
    """The Trainer forgets the losses since the last row of the log when it goes on from a state."""

    def __init__(self, trainer: CaptionTrainer) -> None:
        self.trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self.trainer.start:
            log = files.read_json(self.trainer.start / LOG)
            self.trainer._tr_loss += log["sum"]
            self.trainer._globalstep_last_logged = log["since"]


class _Finite(TrainerCallback):  # type: ignore[misc]
    """Stops before a loss that is no number reaches the weights."""

    def __init__(self, trainer: CaptionTrainer) -> None:
        self.trainer = trainer

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        seen, self.trainer.seen = self.trainer.seen, []
        fine = torch.stack([loss for _, loss in seen]).isfinite().tolist()
        if not all(fine):
            rows, loss = seen[fine.index(False)]
            ids = self.trainer.train_dataset.rows[rows.tolist()]["id"]
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
        late = time.monotonic() - self.last >= self.resume.every_seconds > 0
        self.due |= late or (self.resume.every_steps > 0 and state.global_step % self.resume.every_steps == 0)
        if not float(state.epoch).is_integer():
            self._ask(state, control)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._ask(state, control)

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.last, self.due = time.monotonic(), False

    def _ask(self, state: Any, control: Any) -> None:
        control.should_save = self.due and state.global_step < state.max_steps


def step_of(state: Path) -> int:
    """The step of a state by its folder's name."""
    return int(state.name.removeprefix("step-"))
