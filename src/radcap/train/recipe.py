"""What a training run is, besides model and data."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from transformers import TrainingArguments

from radcap.errors import UserError
from radcap.settings import Phase, Plateau, Resume

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
    # A parameter's name -> what multiplies the learning rate for it.
    factor: Callable[[str], float] | None = None
    # Which validation's weights are kept (settings.Train), and after how many without a better one the run ends.
    select_by: str = "last"
    patience: int = 0
    # rouge1 only: of captions of so many rows, so long.
    select_rows: int = 0
    max_new_tokens: int = 0
    resume: Resume | None = None

    def halved(self) -> Recipe | None:
        """The same batches in micro-batches of half as many examples, or the next fewer that divide a batch; None: one
        example is the least."""
        whole = self.batch_size * self.accumulation
        size = next((size for size in range(self.batch_size // 2, 0, -1) if whole % size == 0), 0)
        return replace(self, batch_size=size, accumulation=whole // size) if size else None

    def shared(self, processes: int) -> Recipe:
        """The same batches in equal parts for the processes, in micro-batches no larger. UserError: no such parts."""
        whole = self.batch_size * self.accumulation
        part, rest = divmod(whole, processes)
        if rest:
            raise UserError(
                f"train.processes: {processes} cannot share a batch of {self.batch_size} x {self.accumulation}; "
                f"batch_size * accumulation must be a multiple of {processes}"
            )
        size = next(size for size in range(min(self.batch_size, part), 0, -1) if part % size == 0)
        return replace(self, batch_size=size, accumulation=part // size)


def steps(rows: int, *, epochs: float, batch_size: int, accumulation: int) -> int:
    """Optimizer steps of that many passes over the rows (a last, smaller batch counts as one)."""
    return max(math.ceil(epochs * math.ceil(rows / (batch_size * accumulation))), 1)


def arguments(recipe: Recipe, scratch: str, *, evaluate: bool) -> TrainingArguments:
    """The recipe in the Trainer's terms; it writes nothing by itself, and shows nothing."""
    cuda = torch.cuda.is_available()
    made = TrainingArguments(
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
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_num_workers=recipe.workers,
        # Else each epoch starts them anew, and what they keep in memory is lost.
        dataloader_persistent_workers=recipe.workers > 0,
        dataloader_pin_memory=cuda,
        # LLaVA's adapters on the tower's last layer have no gradient, nor has a component that a phase freezes.
        ddp_find_unused_parameters=True,
    )
    # One process trains on one GPU. Of several that it sees, the Trainer would make a torch.nn.DataParallel, which
    # multiplies the batch and cuts Qwen's patches at the wrong places.
    made._n_gpu = min(made.n_gpu, 1)
    return made
