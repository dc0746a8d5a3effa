"""One run of each side on a workload: losses, seconds a step, peak memory."""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import Trainer, TrainerCallback, TrainingArguments

from radcap.models.inputs import collate
from radcap.train import fit as fitting
from radcap.train import trainer as trainer_module
from radcap.train.recipe import Recipe
from radcap.train.sampler import LengthGroupedSampler
from training.workload import Workload

# Steps before the measured ones.
WARM = 2


@dataclass(frozen=True)
class Measured:
    """CPU seconds of a step (median), MiB that training took beyond the loaded model at its peak, and the losses."""

    seconds: float
    peak: float
    losses: list[float]


class Watch(TrainerCallback):  # type: ignore[misc]
    """CPU time of every step: another process on the same machine does not count."""

    def __init__(self) -> None:
        self.steps: list[float] = []

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.start = time.process_time()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.steps.append(time.process_time() - self.start)


def measured(run: Callable[[Watch], list[float]]) -> Measured:
    watch = Watch()
    Path("/proc/self/clear_refs").write_text("5")
    before = _status("VmRSS")
    losses = run(watch)
    return Measured(statistics.median(watch.steps[WARM:]), _status("VmHWM") - before, losses)


def _status(name: str) -> float:
    found = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) / 1024


def radcap(work: Workload, recipe: Recipe, *, levers: frozenset[str]) -> Measured:
    """radcap's own step; without "labels" with all logits, without "towers" with transformers' hooks for gradients of
    every part's embeddings, without "order" in batches of any lengths."""
    if "labels" not in levers:
        fitting.batch = lambda examples, adapter, pad_id: collate(examples, adapter, pad_id=pad_id, side="right")
    if "towers" not in levers:
        fitting.recompute_layers = lambda model, every: _recompute_as_transformers(model, every)

    if "order" not in levers:
        trainer_module.Order = lambda lengths, **options: LengthGroupedSampler([1] * len(lengths), **options)

    def run(watch: Watch) -> list[float]:
        trainer_class = fitting.CaptionTrainer

        def watched(**options: Any) -> Any:
            return trainer_class(**options | {"callbacks": [*options["callbacks"], watch]})

        fitting.CaptionTrainer = watched
        fitted = fitting.fit(work.trainee, work.examples, None, recipe, label="radcap")
        return [row["loss"] for row in fitted.log]

    return measured(run)


def _recompute_as_transformers(model: Any, every: int) -> None:
    if every:
        model.activation_checkpointing_enable(
            activation_checkpointing_kwargs={"use_reentrant": False}, every_n_layers=every
        )


def hugging_face(work: Workload, recipe: Recipe) -> Measured:
    """transformers' Trainer on a peft model, with the model's own loss, as their documentation shows."""
    return measured(lambda watch: _run(Trainer, TrainingArguments(**_options(recipe)), work, recipe, watch))


def trl(work: Workload, recipe: Recipe) -> Measured:
    """TRL's SFTTrainer on a peft model with examples prepared beforehand."""
    from trl import SFTConfig, SFTTrainer

    options = _options(recipe) | {"dataset_kwargs": {"skip_prepare_dataset": True}, "max_length": None}
    adapter = work.loaded.family
    tokenizer = adapter.tokenizer(work.loaded.processor)
    config = SFTConfig(**options)
    return measured(lambda watch: _run(SFTTrainer, config, work, recipe, watch, processing_class=tokenizer))


def _options(recipe: Recipe) -> dict[str, Any]:
    return {
        "output_dir": "/tmp/benchmark",
        "max_steps": recipe.steps,
        "per_device_train_batch_size": recipe.batch_size,
        "gradient_accumulation_steps": recipe.accumulation,
        "learning_rate": recipe.learning_rate,
        "lr_scheduler_type": "constant",
        "max_grad_norm": recipe.max_grad_norm,
        "activation_checkpointing": bool(recipe.recompute_every),
        "activation_checkpointing_kwargs": {"use_reentrant": False},
        "train_sampling_strategy": "sequential",
        "use_cpu": True,
        "bf16": False,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
        "remove_unused_columns": False,
        "dataloader_pin_memory": False,
        "seed": recipe.seed,
    }


def _run(kind: Any, config: Any, work: Workload, recipe: Recipe, watch: Watch, **options: Any) -> list[float]:
    adapter, processor = work.loaded.family, work.loaded.processor
    # radcap's order, so that all sides see the same batches.
    order = LengthGroupedSampler(
        work.examples.lengths, batch_size=recipe.batch_size * recipe.accumulation, seed=recipe.seed
    )

    def collator(rows: Sequence[dict[str, int]]) -> dict[str, Any]:
        examples = [work.examples[row["index"]] for row in rows]
        for example in examples:
            example.pop("row")
        return collate(examples, adapter, pad_id=adapter.pad_id(processor), side="right")

    trainer = kind(
        model=work.trainee,
        args=config,
        train_dataset=Dataset.from_dict({"index": list(order)}),
        data_collator=collator,
        callbacks=[watch],
        **options,
    )
    trainer.train()
    return [row["loss"] for row in trainer.state.log_history if "loss" in row]
