"""Training by the Hugging Face Trainer, with the one loss and a log of its own."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from transformers import PrinterCallback, TrainingArguments

from radcap import files
from radcap.models.family import Family, Tensors
from radcap.models.inputs import collate
from radcap.settings import Phase, Plateau, Resume
from radcap.train.examples import Examples
from radcap.train.loss import caption_loss, predicting
from radcap.train.phases import Phases
from radcap.train.recompute import recompute_layers
from radcap.train.report import Listener, Report, Row
from radcap.train.states import States
from radcap.train.trainer import LOG, CaptionTrainer, Saving, step_of

# Names of settings -> names of transformers.
SCHEDULES = {"constant": "constant_with_warmup", "plateau": "reduce_lr_on_plateau"}

# About so many rows has a log, besides those of validations.
ROWS = 40


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
    resume: Resume | None = None


def steps(rows: int, *, epochs: float, batch_size: int, accumulation: int) -> int:
    """Optimizer steps of that many passes over the rows (a last, smaller batch counts as one)."""
    return max(math.ceil(epochs * math.ceil(rows / (batch_size * accumulation))), 1)


def fit(
    model: Any,
    train: Examples,
    valid: Examples | None,
    recipe: Recipe,
    *,
    label: str,
    listen: Listener | None = None,
    states: States | None = None,
) -> list[Row]:
    """Train in place and return the log, one row a report. `listen` gets each row as it comes.

    With `states` the run writes states, and goes on from the newest one that is there.
    UserError when a loss is no longer finite.
    """
    adapter, processor = train.loaded.family, train.loaded.processor
    recompute_layers(model, recipe.recompute_every)
    start = states.latest() if states else None
    if start:
        print(f"{label}: goes on from step {step_of(start)}/{recipe.steps}")
    report = Report(label, listen, files.read_json(start / LOG)["rows"] if start else [])
    callbacks = [Phases(adapter, recipe.phases, recipe.steps, label=label)] if recipe.phases else []
    callbacks += [Saving(recipe.resume)] if states and recipe.resume else []
    with tempfile.TemporaryDirectory(prefix="radcap-") as scratch:
        trainer = CaptionTrainer(
            report=report,
            states=states,
            start=start,
            model=model,
            args=_arguments(recipe, scratch, evaluate=valid is not None),
            train_dataset=train,
            eval_dataset=valid,
            data_collator=partial(batch, adapter=adapter, pad_id=adapter.pad_id(processor)),
            compute_loss_func=caption_loss,
            callbacks=[*callbacks, report],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train(resume_from_checkpoint=str(start) if start else None)
    return report.rows


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
        logging_steps=max(recipe.steps // ROWS, 1),
        logging_nan_inf_filter=False,
        eval_strategy="epoch" if evaluate else "no",
        prediction_loss_only=True,
        label_names=["labels"],
        save_strategy="no",
        report_to=[],
        # The report shows progress.
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_num_workers=recipe.workers,
        dataloader_pin_memory=cuda,
    )
    # One process trains on one GPU. Of several that it sees, the Trainer would make a torch.nn.DataParallel, which
    # multiplies the batch and cuts Qwen's patches at the wrong places.
    arguments._n_gpu = min(arguments.n_gpu, 1)
    return arguments
