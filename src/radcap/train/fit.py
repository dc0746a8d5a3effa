"""Training with the Hugging Face Trainer: from a model, its examples and a recipe to trained weights and a log."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size
from transformers import PrinterCallback

from radcap.errors import UserError
from radcap.runtime import processes
from radcap.runtime.checkpoints import TrainingCheckpoints, checkpoint_step, read_progress
from radcap.runtime.log_callback import Listener, LogCallback, Row
from radcap.train.backend import enable_activation_checkpointing
from radcap.train.examples import Examples, collate_examples
from radcap.train.loss import caption_loss
from radcap.train.model_selection import copy_weights
from radcap.train.recipe import Recipe, training_arguments
from radcap.train.trainer import CaptionTrainer
from radcap.train.unfreezing import UnfreezingCallback, count_trainable


@dataclass(frozen=True)
class TrainingResult:
    """The log of a run, the micro-batches that fitted into memory, and the step whose weights the model now has."""

    log: list[Row]
    batch_size: int
    accumulation: int
    steps: int
    kept_step: int
    # The gathered weights under FSDP; None when the model itself holds them.
    weights: dict[str, torch.Tensor] | None = None

    def record(self) -> dict[str, int]:
        return {name: value for name, value in vars(self).items() if name not in ("log", "weights")}


def fit(
    model: Any,
    train: Examples,
    valid: Examples | None,
    recipe: Recipe,
    *,
    label: str,
    listener: Listener | None = None,
    checkpoints: TrainingCheckpoints | None = None,
) -> TrainingResult:
    """Train the model in place. `listener` gets each row of the log as soon as it exists.

    With `checkpoints`, the run writes checkpoints and resumes from the newest one. When memory runs out, the run starts
    again with the same optimizer batches in micro-batches of half the size; the result is then that of a run with this
    size. UserError when a loss is not finite, or when a single example does not fit into memory.
    """
    if processes.uses_fsdp():
        checkpoints = None
        print(f"{label}: the processes share the weights (FSDP); without checkpoints, a killed run starts again")
        if recipe.select_by != "last":
            raise UserError(f"train.select_by: {recipe.select_by!r} does not work with FSDP; set it to last")
    enable_activation_checkpointing(model, recipe.recompute_every)
    recipe = recipe.per_process(processes.world_size())
    initial = {n: t.detach().to("cpu", copy=True) for n, t in _changing_tensors(model).items()}
    log = LogCallback(label, _log_row, listener)
    while True:
        start = checkpoints.latest() if checkpoints else None
        if start:
            size = read_progress(start)["batch_size"]
            total = recipe.batch_size * recipe.accumulation
            recipe = replace(recipe, batch_size=size, accumulation=total // size)
            print(f"{label}: resumes from step {checkpoint_step(start)}/{recipe.steps}")
        try:
            return _fit_once(model, train, valid, recipe, log, checkpoints, start)
        except (RuntimeError, MemoryError) as error:
            if not (isinstance(error, MemoryError | torch.OutOfMemoryError) or should_reduce_batch_size(error)):
                raise
            recipe = _with_smaller_micro_batches(recipe, label)
        # Outside the except clause, which keeps the tensors of the failed step alive.
        model.zero_grad(set_to_none=True)
        clear_device_cache(garbage_collection=True)
        copy_weights(initial, into=_changing_tensors(model))
        if checkpoints:
            checkpoints.delete("training starts again")


def _fit_once(
    model: Any,
    train: Examples,
    valid: Examples | None,
    recipe: Recipe,
    log: LogCallback,
    checkpoints: TrainingCheckpoints | None,
    start: Path | None,
) -> TrainingResult:
    family, processor = train.loaded.family, train.loaded.processor
    log.begin(read_progress(start)["rows"] if start else [])
    unfreezing = [UnfreezingCallback(family, recipe.phases, recipe.steps, label=log.label)] if recipe.phases else []
    with tempfile.TemporaryDirectory(prefix="radcap-") as scratch:
        trainer = CaptionTrainer(
            recipe=recipe,
            log_callback=log,
            checkpoints=checkpoints,
            start=start,
            model=model,
            args=training_arguments(recipe, scratch, evaluate=valid is not None),
            train_dataset=train,
            eval_dataset=valid,
            data_collator=partial(collate_examples, family=family, pad_id=family.pad_id(processor)),
            compute_loss_func=caption_loss,
            callbacks=[*unfreezing, log],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train(resume_from_checkpoint=str(start) if start else None)
    trainer.best.restore()
    steps = trainer.state.global_step
    kept_step = trainer.best.record["step"] or steps
    weights = trainer.accelerator.get_state_dict(trainer.model) if processes.uses_fsdp() else None
    return TrainingResult(log.rows, recipe.batch_size, recipe.accumulation, steps, kept_step, weights)


def _log_row(logs: dict[str, float], state: Any, model: Any) -> Row | None:
    """One row of the log from what the Trainer reports; None for its summary at the end."""
    if "loss" not in logs and "eval_loss" not in logs:
        return None
    row: Row = {"step": state.global_step, "epoch": round(float(state.epoch or 0), 4)}
    row |= {name: logs[name] for name in ("loss", "learning_rate", "grad_norm") if name in logs}
    row["trainable"] = count_trainable(model)
    row |= {f"valid_{name[5:]}": value for name, value in logs.items() if name in ("eval_loss", "eval_rouge1")}
    return {name: round(value, 8) if isinstance(value, float) else value for name, value in row.items()}


def _changing_tensors(model: Any) -> dict[str, torch.Tensor]:
    return {n: p for n, p in model.named_parameters() if p.requires_grad} | dict(model.named_buffers())


def _with_smaller_micro_batches(recipe: Recipe, label: str) -> Recipe:
    if processes.world_size() > 1:
        raise UserError(
            f"{label}: not enough memory for micro-batches of {recipe.batch_size} examples in one of "
            f"{processes.world_size()} processes; halve batch_size and double accumulation"
        )
    smaller = recipe.with_smaller_micro_batches()
    if smaller is None:
        raise UserError(
            f"{label}: not enough memory for a single example; recompute more layers (checkpointing: all), "
            "use fewer tokens per image (models.<key>.image), or cut captions earlier (train.max_caption_tokens)"
        )
    change = f"{smaller.batch_size} x {smaller.accumulation} instead of {recipe.batch_size} x {recipe.accumulation}"
    print(f"{label}: out of memory; starts again with micro-batches of {change} (examples x accumulation)")
    return smaller
