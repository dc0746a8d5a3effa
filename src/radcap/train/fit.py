"""Training by the Hugging Face Trainer, with the one loss and a log of its own."""

from __future__ import annotations

import math
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_pt_utils import LengthGroupedSampler

from radcap.models.family import Family, Tensors
from radcap.models.inputs import collate
from radcap.settings import Phase, Plateau
from radcap.train.examples import Examples
from radcap.train.loss import caption_loss, predicting
from radcap.train.phases import Phases, trainable
from radcap.train.recompute import recompute_layers

# Names of settings -> names of transformers.
SCHEDULES = {"constant": "constant_with_warmup", "plateau": "reduce_lr_on_plateau"}

Listener = Callable[[dict[str, float]], None]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that defines a training run besides model and data."""

    steps: int
    batch_size: int
    accumulation: int
    learning_rate: float
    weight_decay: float
    warmup: float
    schedule: str
    max_grad_norm: float
    seed: int
    workers: int = 0
    # Weights that train in float32 beside or without frozen bfloat16 ones: compute in bfloat16.
    autocast: bool = False
    # Every so-many-th layer recomputes its activations in the backward pass; 0: none.
    recompute_every: int = 0
    plateau: Plateau | None = None
    phases: tuple[Phase, ...] = ()


def steps(rows: int, *, epochs: float, batch_size: int, accumulation: int) -> int:
    """Optimizer steps of that many passes over the rows (a last, smaller batch counts as one)."""
    return max(math.ceil(epochs * math.ceil(rows / (batch_size * accumulation))), 1)


def fit(
    model: Any, train: Examples, valid: Examples | None, recipe: Recipe, *, label: str, listen: Listener | None = None
) -> list[dict[str, float]]:
    """Train in place and return the log, one row a report. `listen` gets each row as it comes.

    Raises FloatingPointError when the loss is no longer finite.
    """
    adapter, processor = train.loaded.family, train.loaded.processor
    recompute_layers(model, recipe.recompute_every)
    log = _Log(label, listen)
    phases = [Phases(adapter, recipe.phases, recipe.steps, label=label)] if recipe.phases else []
    with tempfile.TemporaryDirectory(prefix="radcap-") as scratch:
        trainer = _Trainer(
            model=model,
            args=_arguments(recipe, scratch, evaluate=valid is not None),
            train_dataset=train,
            eval_dataset=valid,
            data_collator=partial(batch, adapter=adapter, pad_id=adapter.pad_id(processor)),
            compute_loss_func=caption_loss,
            callbacks=[*phases, log],
        )
        # A terminal gets the Trainer's bar; elsewhere the log prints plain lines.
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    return log.rows


def batch(examples: Sequence[Tensors], adapter: Family, *, pad_id: int) -> dict[str, Any]:
    """A batch to learn from: padded on the right, and logits asked for where a caption's token is predicted."""
    made = collate(examples, adapter, pad_id=pad_id, side="right")
    return made | {adapter.ids.replace("input_ids", "logits_to_keep"): predicting(made["labels"])}


def _arguments(recipe: Recipe, scratch: str, *, evaluate: bool) -> TrainingArguments:
    cuda = torch.cuda.is_available()
    arguments = TrainingArguments(
        output_dir=scratch,
        max_steps=recipe.steps,
        per_device_train_batch_size=recipe.batch_size,
        per_device_eval_batch_size=recipe.batch_size,
        gradient_accumulation_steps=recipe.accumulation,
        learning_rate=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        warmup_steps=round(recipe.warmup * recipe.steps),
        lr_scheduler_type=SCHEDULES.get(recipe.schedule, recipe.schedule),
        lr_scheduler_kwargs=recipe.plateau.model_dump() if recipe.plateau and recipe.schedule == "plateau" else None,
        max_grad_norm=recipe.max_grad_norm,
        optim="adamw_torch_fused",
        use_cpu=not cuda,
        bf16=recipe.autocast,
        seed=recipe.seed,
        data_seed=recipe.seed,
        logging_steps=max(recipe.steps // 40, 1),
        logging_nan_inf_filter=False,
        eval_strategy="epoch" if evaluate else "no",
        prediction_loss_only=True,
        label_names=["labels"],
        save_strategy="no",
        report_to=[],
        disable_tqdm=not sys.stderr.isatty(),
        remove_unused_columns=False,
        dataloader_num_workers=recipe.workers,
        dataloader_pin_memory=cuda,
    )
    # One process trains on one GPU. Of several that it sees, the Trainer would make a torch.nn.DataParallel, which
    # multiplies the batch and cuts Qwen's patches at the wrong places.
    arguments._n_gpu = min(arguments.n_gpu, 1)
    return arguments


class _Trainer(Trainer):  # type: ignore[misc]
    """Batches of captions of similar length, so that little of a batch is padding."""

    def _get_train_sampler(self, train_dataset: Examples | None = None) -> LengthGroupedSampler:
        generator = torch.Generator().manual_seed(self.args.data_seed)
        lengths = (train_dataset or self.train_dataset).caption_lengths
        batch = self.args.train_batch_size * self.args.gradient_accumulation_steps
        return LengthGroupedSampler(batch, lengths=lengths, generator=generator)


class _Log(TrainerCallback):  # type: ignore[misc]
    """Collects the reports, prints them where there is no bar, and stops on a loss that is no number."""

    def __init__(self, label: str, listen: Listener | None) -> None:
        self.label, self.listen = label, listen
        self.rows: list[dict[str, float]] = []
        self.start = time.monotonic()

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, model: Any = None, **_: Any
    ) -> None:
        logs = logs or {}
        if "loss" not in logs and "eval_loss" not in logs:
            return
        row: dict[str, float] = {"step": state.global_step, "epoch": round(float(state.epoch or 0), 4)}
        row |= {name: logs[name] for name in ("loss", "learning_rate", "grad_norm") if name in logs}
        row["trainable"] = trainable(model)
        if "eval_loss" in logs:
            row["valid_loss"] = logs["eval_loss"]
        loss = row.get("loss", row.get("valid_loss", 0.0))
        if not math.isfinite(loss):
            raise FloatingPointError(f"{self.label}: loss is {loss} at step {state.global_step}")
        self.rows.append({name: round(value, 8) if isinstance(value, float) else value for name, value in row.items()})
        if self.listen:
            self.listen(self.rows[-1])
        if args.disable_tqdm and ("valid_loss" in row or len(self.rows) % 8 == 0):
            self._print(row, state)

    def _print(self, row: dict[str, float], state: Any) -> None:
        rate = state.global_step / max(time.monotonic() - self.start, 1e-9)
        left = (state.max_steps - state.global_step) / max(rate, 1e-9)
        figures = ", ".join(f"{n} {row[n]:.4f}" for n in ("loss", "valid_loss") if n in row)
        print(f"{self.label}: step {state.global_step}/{state.max_steps}, {figures}, {rate:.1f}/s, {left:.0f} s left")
