"""Training by the Hugging Face Trainer, with the one loss and a log of its own."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size
from transformers import PrinterCallback

from radcap import files, processes
from radcap.errors import UserError
from radcap.models.family import Family, Tensors
from radcap.models.inputs import collate
from radcap.train.examples import Examples
from radcap.train.loss import caption_loss, predicting
from radcap.train.phases import Phases
from radcap.train.recipe import Recipe, arguments
from radcap.train.recompute import recompute_layers
from radcap.train.report import Listener, Report, Row
from radcap.train.select import put
from radcap.train.states import States
from radcap.train.trainer import LOG, CaptionTrainer, step_of


@dataclass(frozen=True)
class Fitted:
    """How a run went: its log, the micro-batches that fitted into memory, and the step whose weights are kept."""

    log: list[Row]
    batch_size: int
    accumulation: int
    steps: int
    kept_step: int
    # Of a model that the processes share; None: they are in the model.
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
    listen: Listener | None = None,
    states: States | None = None,
) -> Fitted:
    """Train in place. `listen` gets each row of the log as it comes.

    With `states` the run writes states, and goes on from the newest one that is there. Where memory does not suffice
    it begins again with half the micro-batch in the same batches, so that the result is that of this micro-batch.
    UserError when a loss is no longer finite, or one example is too much for memory.
    """
    if processes.sharded():
        states = None
        print(f"{label}: the processes share the weights (FSDP); no states are written, a killed run begins again")
        if recipe.select_by != "last":
            raise UserError(f"train.select_by: {recipe.select_by!r} does not work under FSDP; set it to last")
    recompute_layers(model, recipe.recompute_every)
    recipe = recipe.shared(processes.count())
    first = {n: t.detach().to("cpu", copy=True) for n, t in _changing(model).items()}
    report = Report(label, listen)
    while True:
        start = states.latest() if states else None
        if start:
            size = files.read_json(start / LOG)["batch_size"]
            part = recipe.batch_size * recipe.accumulation
            recipe = replace(recipe, batch_size=size, accumulation=part // size)
            print(f"{label}: goes on from step {step_of(start)}/{recipe.steps}")
        try:
            return _train(model, train, valid, recipe, report, states, start)
        except (RuntimeError, MemoryError) as error:
            if not (isinstance(error, MemoryError | torch.OutOfMemoryError) or should_reduce_batch_size(error)):
                raise
            recipe = _smaller(recipe, label)
        # Outside of the except clause, which holds on to the failed step's tensors.
        model.zero_grad(set_to_none=True)
        clear_device_cache(garbage_collection=True)
        put(_changing(model), first)
        if states:
            states.clear("it begins again")


def _train(
    model: Any,
    train: Examples,
    valid: Examples | None,
    recipe: Recipe,
    report: Report,
    states: States | None,
    start: Path | None,
) -> Fitted:
    adapter, processor = train.loaded.family, train.loaded.processor
    report.begin(files.read_json(start / LOG)["rows"] if start else [])
    phases = [Phases(adapter, recipe.phases, recipe.steps, label=report.label)] if recipe.phases else []
    with tempfile.TemporaryDirectory(prefix="radcap-") as scratch:
        trainer = CaptionTrainer(
            recipe=recipe,
            report=report,
            states=states,
            start=start,
            model=model,
            args=arguments(recipe, scratch, evaluate=valid is not None),
            train_dataset=train,
            eval_dataset=valid,
            data_collator=partial(batch, adapter=adapter, pad_id=adapter.pad_id(processor)),
            compute_loss_func=caption_loss,
            callbacks=[*phases, report],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train(resume_from_checkpoint=str(start) if start else None)
    trainer.best.restore()
    done = trainer.state.global_step
    kept = trainer.best.record["step"] or done
    weights = trainer.accelerator.get_state_dict(trainer.model) if processes.sharded() else None
    return Fitted(report.rows, recipe.batch_size, recipe.accumulation, done, kept, weights)


def _changing(model: Any) -> dict[str, torch.Tensor]:
    return {n: p for n, p in model.named_parameters() if p.requires_grad} | dict(model.named_buffers())


def _smaller(recipe: Recipe, label: str) -> Recipe:
    if processes.count() > 1:
        raise UserError(
            f"{label}: memory does not suffice for micro-batches of {recipe.batch_size} in one of "
            f"{processes.count()} processes; halve batch_size and double accumulation"
        )
    smaller = recipe.halved()
    if smaller is None:
        raise UserError(
            f"{label}: memory does not suffice for one example; recompute more layers (checkpointing: all), "
            "let an image take fewer tokens (models.<key>.image), or cut captions earlier (train.max_caption_tokens)"
        )
    told = f"{recipe.batch_size} x {recipe.accumulation} to {smaller.batch_size} x {smaller.accumulation}"
    print(f"{label}: out of memory; begins again with micro-batches of {told} (examples x accumulation)")
    return smaller


def batch(examples: Sequence[Tensors], adapter: Family, *, pad_id: int) -> dict[str, Any]:
    """A batch to learn from: padded on the right, and logits asked for where a caption's token is predicted."""
    made = collate(examples, adapter, pad_id=pad_id, side="right")
    return made | {adapter.ids.replace("input_ids", "logits_to_keep"): predicting(made["labels"])}
