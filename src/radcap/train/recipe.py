"""The hyperparameters of a training run, and how they reach the Hugging Face Trainer."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from transformers import TrainingArguments

from radcap.errors import UserError
from radcap.settings import Phase, Plateau, Resume

# Our names of schedules -> transformers' names.
SCHEDULES = {"constant": "constant_with_warmup", "plateau": "reduce_lr_on_plateau"}
# Approximate number of rows in a log, besides those of validations.
LOG_ROWS = 40


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that defines a training run, except the model and the data."""

    steps: int
    # Examples per micro-batch, and micro-batches per optimizer step.
    batch_size: int
    accumulation: int
    learning_rate: float
    weight_decay: float
    # Share of the steps.
    warmup: float
    schedule: str
    max_grad_norm: float
    seed: int
    # Data loader processes.
    workers: int = 0
    # Compute in bfloat16 where the trained weights are float32, with or without frozen bfloat16 weights.
    autocast: bool = False
    # Every n-th layer recomputes its activations in the backward pass; 0: none does.
    recompute_every: int = 0
    plateau: Plateau | None = None
    phases: tuple[Phase, ...] = ()
    # From a parameter's name to the factor on the learning rate for it.
    rate_factor: Callable[[str], float] | None = None
    # Which validation's weights are kept (see settings.Train), and after how many validations without a better one the
    # run stops.
    select_by: str = "last"
    patience: int = 0
    # With select_by rouge1: the number of captioned rows, and the maximum length of a caption.
    select_rows: int = 0
    max_new_tokens: int = 0
    resume: Resume | None = None

    def with_smaller_micro_batches(self) -> Recipe | None:
        """The same optimizer batches in micro-batches of half the size, or of the next smaller size that divides a
        batch. None if a micro-batch is a single example already."""
        total = self.batch_size * self.accumulation
        size = next((size for size in range(self.batch_size // 2, 0, -1) if total % size == 0), 0)
        return replace(self, batch_size=size, accumulation=total // size) if size else None

    def per_process(self, processes: int) -> Recipe:
        """What each process does so that all together compute the same optimizer batches.

        Micro-batches do not grow. UserError when a batch cannot be divided equally.
        """
        total = self.batch_size * self.accumulation
        share, remainder = divmod(total, processes)
        if remainder:
            raise UserError(
                f"train.processes: {processes} processes cannot share a batch of {self.batch_size} x "
                f"{self.accumulation} equally; batch_size * accumulation must be a multiple of {processes}"
            )
        size = next(size for size in range(min(self.batch_size, share), 0, -1) if share % size == 0)
        return replace(self, batch_size=size, accumulation=share // size)


def optimizer_steps(rows: int, *, epochs: float, batch_size: int, accumulation: int) -> int:
    """The number of optimizer steps in that many passes over the rows. The last, smaller batch of a pass counts."""
    return max(math.ceil(epochs * math.ceil(rows / (batch_size * accumulation))), 1)


def training_arguments(recipe: Recipe, output_dir: str, *, evaluate: bool) -> TrainingArguments:
    """The recipe as the Trainer's arguments. By itself the Trainer then saves nothing and shows nothing."""
    cuda = torch.cuda.is_available()
    arguments = TrainingArguments(
        output_dir=output_dir,
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
        logging_steps=max(recipe.steps // LOG_ROWS, 1),
        logging_nan_inf_filter=False,
        eval_strategy="epoch" if evaluate else "no",
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_num_workers=recipe.workers,
        # Otherwise every epoch starts new workers, without the examples that the old ones had cached.
        dataloader_persistent_workers=recipe.workers > 0,
        dataloader_pin_memory=cuda,
        # Some parameters get no gradient: LLaVA's adapters on the tower's last layer, and frozen components.
        ddp_find_unused_parameters=True,
    )
    # One process trains on one GPU. If it sees several, the Trainer would create a torch.nn.DataParallel, which
    # multiplies the batch and splits Qwen's patches at the wrong places.
    arguments._n_gpu = min(arguments.n_gpu, 1)
    return arguments
