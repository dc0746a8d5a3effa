"""One run of each trainer on a workload: losses, seconds per step, and peak memory."""

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
from radcap.train import fit as fit_module
from radcap.train import trainer as trainer_module
from radcap.train.recipe import Recipe
from radcap.train.sampler import LengthGroupedSampler
from training.workload import Workload

WARM_UP_STEPS = 2


@dataclass(frozen=True)
class Measurement:
    """CPU seconds per step (median), peak MiB of training beyond the loaded model, and the losses."""

    seconds: float
    peak: float
    losses: list[float]


class StepTimer(TrainerCallback):  # type: ignore[misc]
    """CPU time of every step, which does not include other processes on the same machine."""

    def __init__(self) -> None:
        self.steps: list[float] = []

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.start = time.process_time()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.steps.append(time.process_time() - self.start)


def measure(run: Callable[[StepTimer], list[float]]) -> Measurement:
    timer = StepTimer()
    # Resets the peak memory (VmHWM) of this process.
    Path("/proc/self/clear_refs").write_text("5")
    before = _memory("VmRSS")
    losses = run(timer)
    return Measurement(statistics.median(timer.steps[WARM_UP_STEPS:]), _memory("VmHWM") - before, losses)


def _memory(name: str) -> float:
    """A memory value of this process in MiB, under the name that Linux gives it."""
    match = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert match
    return int(match[1]) / 1024


def radcap(work: Workload, recipe: Recipe, *, levers: frozenset[str]) -> Measurement:
    """radcap's own step.

    Without "labels" all logits are computed, without "towers" the embeddings of every part require gradients as in
    transformers, and without "order" batches hold examples of any length.
    """
    if "labels" not in levers:
        fit_module.collate_examples = lambda examples, family, pad_id: collate(
            examples, family, pad_id=pad_id, side="right"
        )
    if "towers" not in levers:
        fit_module.enable_activation_checkpointing = _enable_checkpointing_as_transformers

    if "order" not in levers:
        trainer_module.LengthGroupedSampler = lambda lengths, **options: LengthGroupedSampler(
            [1] * len(lengths), **options
        )

    def run(timer: StepTimer) -> list[float]:
        trainer_class = fit_module.CaptionTrainer

        def timed_trainer(**options: Any) -> Any:
            return trainer_class(**options | {"callbacks": [*options["callbacks"], timer]})

        fit_module.CaptionTrainer = timed_trainer
        result = fit_module.fit(work.model, work.examples, None, recipe, label="radcap")
        return [row["loss"] for row in result.log]

    return measure(run)


def _enable_checkpointing_as_transformers(model: Any, every_n_layers: int) -> None:
    if every_n_layers:
        model.activation_checkpointing_enable(
            activation_checkpointing_kwargs={"use_reentrant": False}, every_n_layers=every_n_layers
        )


def hugging_face(work: Workload, recipe: Recipe) -> Measurement:
    """transformers' Trainer on a peft model with the model's own loss, as in their documentation."""
    return measure(lambda timer: _train(Trainer, TrainingArguments(**_options(recipe)), work, recipe, timer))


def trl(work: Workload, recipe: Recipe) -> Measurement:
    """TRL's SFTTrainer on a peft model with examples that were encoded before."""
    from trl import SFTConfig, SFTTrainer

    options = _options(recipe) | {"dataset_kwargs": {"skip_prepare_dataset": True}, "max_length": None}
    tokenizer = work.loaded.family.tokenizer(work.loaded.processor)
    config = SFTConfig(**options)
    return measure(lambda timer: _train(SFTTrainer, config, work, recipe, timer, processing_class=tokenizer))


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


def _train(
    trainer_class: Any, config: Any, work: Workload, recipe: Recipe, timer: StepTimer, **options: Any
) -> list[float]:
    family, processor = work.loaded.family, work.loaded.processor
    # radcap's order, so that all trainers see the same batches.
    order = LengthGroupedSampler(
        work.examples.lengths, batch_size=recipe.batch_size * recipe.accumulation, seed=recipe.seed
    )

    def collator(rows: Sequence[dict[str, int]]) -> dict[str, Any]:
        examples = [work.examples[row["index"]] for row in rows]
        for example in examples:
            example.pop("row")
        return collate(examples, family, pad_id=family.pad_id(processor), side="right")

    trainer = trainer_class(
        model=work.model,
        args=config,
        train_dataset=Dataset.from_dict({"index": list(order)}),
        data_collator=collator,
        callbacks=[timer],
        **options,
    )
    trainer.train()
    return [row["loss"] for row in trainer.state.log_history if "loss" in row]
