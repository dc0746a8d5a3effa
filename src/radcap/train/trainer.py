"""The Hugging Face Trainer with radcap's order of examples, learning rates and validation, and complete checkpoints."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from transformers import Trainer

from radcap.runtime.callbacks import CheckpointCallback, FiniteLossCallback, UnloggedLossCallback, validation_loss_error
from radcap.runtime.checkpoints import (
    TrainingCheckpoints,
    checkpoint_step,
    read_progress,
    read_weights,
    write_checkpoint,
)
from radcap.runtime.log_callback import LogCallback
from radcap.train.examples import Examples
from radcap.train.loss import loss_sums
from radcap.train.model_selection import BestWeightsCallback, copy_weights, mean_rouge1
from radcap.train.recipe import Recipe
from radcap.train.sampler import LengthGroupedSampler


class CaptionTrainer(Trainer):  # type: ignore[misc]
    """Trains by a recipe. `checkpoints` are those of this run, and `start` is the one from which it resumes."""

    def __init__(
        self,
        *,
        recipe: Recipe,
        log_callback: LogCallback,
        checkpoints: TrainingCheckpoints | None,
        start: Path | None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.recipe, self.log_callback = recipe, log_callback
        self.checkpoints, self.start = checkpoints, start
        # All tensors that can change: every parameter that any phase trains, and the buffers of batch norms.
        self.changing = {n: p for n, p in self.model.named_parameters() if p.requires_grad}
        self.changing |= dict(self.model.named_buffers())
        # (rows, loss) of the micro-batches since the last optimizer step
        self.micro_batches: list[tuple[torch.Tensor, torch.Tensor]] = []
        self.best = BestWeightsCallback(
            recipe.select_by, self.changing, patience=recipe.patience, label=log_callback.label
        )
        for callback in (self.best, UnloggedLossCallback(self), FiniteLossCallback(self)):
            self.add_callback(callback)
        if checkpoints and recipe.resume:
            self.add_callback(CheckpointCallback(recipe.resume))

    def _get_train_sampler(self, train_dataset: Examples | None = None) -> LengthGroupedSampler:
        examples_at_once = self.args.train_batch_size * self.args.world_size
        batch_size = examples_at_once * self.args.gradient_accumulation_steps
        rows = len(self.train_dataset)
        return LengthGroupedSampler(
            self.train_dataset.lengths,
            batch_size=batch_size,
            seed=self.args.data_seed,
            first_epoch=checkpoint_step(self.start) // -(-rows // batch_size) if self.start else 0,
            # Every process must see the same number of micro-batches, with the same number of examples.
            multiple_of=examples_at_once if self.args.world_size > 1 else 1,
        )

    def create_optimizer(self, model: Any = None) -> Any:
        """AdamW with one group for each pair of a factor on the learning rate and a weight decay."""
        model = self.model if model is None else model
        decaying = set(self.get_decay_parameter_names(model))
        groups: dict[tuple[float, bool], list[torch.nn.Parameter]] = {}
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                factor = self.recipe.rate_factor(name) if self.recipe.rate_factor else 1.0
                groups.setdefault((factor, name in decaying), []).append(parameter)
        optimizer_class, options = self.get_optimizer_cls_and_kwargs(self.args, model)
        self.optimizer = optimizer_class(
            [
                {
                    "params": parameters,
                    "factor": factor,
                    "lr": self.args.learning_rate * factor,
                    "weight_decay": self.args.weight_decay if decays else 0.0,
                }
                for (factor, decays), parameters in groups.items()
            ],
            **options,
        )
        return self.optimizer

    def _get_learning_rate(self) -> float:
        """The learning rate of the run, without the factor of the first group."""
        return float(super()._get_learning_rate() / self.optimizer.param_groups[0]["factor"])

    def compute_loss(self, model: Any, inputs: dict[str, Any], *rest: Any, **options: Any) -> Any:
        """As the Trainer does it; also remembers the rows and the loss of each micro-batch."""
        rows = inputs.pop("row")
        loss = super().compute_loss(model, inputs, *rest, **options)
        self.micro_batches.append((rows, loss.detach()))
        return loss

    @torch.no_grad()
    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """The mean loss over all tokens of the validation split, and ROUGE-1 of captions if it selects the weights."""
        self.model.eval()
        sums = []
        for batch in self.get_eval_dataloader():
            inputs = self._prepare_inputs(batch)
            labels, _ = inputs.pop("labels"), inputs.pop("row")
            sums.append(self.accelerator.gather_for_metrics(loss_sums(self.model_wrapped(**inputs), labels)))
        total, tokens = torch.cat(sums).double().sum(dim=0).tolist()
        metrics = {"eval_loss": total / tokens}
        if not math.isfinite(total):
            raise validation_loss_error(self.log_callback.label, total, step=self.state.global_step)
        if self.recipe.select_by == "rouge1":
            metrics["eval_rouge1"] = mean_rouge1(
                self.eval_dataset,
                rows=self.recipe.select_rows,
                batch_size=self.args.eval_batch_size,
                max_new_tokens=self.recipe.max_new_tokens,
            )
        self.log(metrics)
        self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Called by the Trainer when a callback has asked for a checkpoint."""
        write_checkpoint(self)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """The Trainer itself loads the optimizer, the schedule and the random states."""
        folder = Path(resume_from_checkpoint)
        weights, best_weights = read_weights(folder)
        copy_weights(weights, into=self.changing)
        self.best.record = read_progress(folder)["best"]
        if best_weights:
            self.best.best_weights = best_weights
