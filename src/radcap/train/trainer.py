"""The Hugging Face Trainer with radcap's order, rates and validation, and whole states to go on from."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import broadcast_object_list
from safetensors.torch import load_file, save_file
from transformers import Trainer
from transformers.trainer import TRAINER_STATE_NAME

from radcap import files
from radcap.errors import UserError
from radcap.train.captioned import mean_rouge1
from radcap.train.examples import Examples
from radcap.train.loss import sums
from radcap.train.order import Order
from radcap.train.recipe import Recipe
from radcap.train.report import Report
from radcap.train.select import Best, put
from radcap.train.states import States
from radcap.train.watch import Finite, Saving, Unlogged

WEIGHTS, BEST, LOG = "weights.safetensors", "best.safetensors", "log.json"


class CaptionTrainer(Trainer):  # type: ignore[misc]
    """Trains by a recipe. `states` are this run's, and `start` is the one that it goes on from."""

    def __init__(
        self, *, recipe: Recipe, report: Report, states: States | None, start: Path | None, **options: Any
    ) -> None:
        super().__init__(**options)
        self.recipe, self.report, self.states, self.start = recipe, report, states, start
        # All that may change: what trains at last, though a phase freezes it now, and batch norms' buffers.
        self.changing = {n: p for n, p in self.model.named_parameters() if p.requires_grad}
        self.changing |= dict(self.model.named_buffers())
        # (rows, loss) of the micro-batches of a step
        self.seen: list[tuple[torch.Tensor, torch.Tensor]] = []
        self.best = Best(recipe.select_by, self.changing, patience=recipe.patience, label=report.label)
        for callback in (self.best, Unlogged(self), Finite(self)):
            self.add_callback(callback)
        if states and recipe.resume:
            self.add_callback(Saving(recipe.resume))

    def _get_train_sampler(self, train_dataset: Examples | None = None) -> Order:
        together = self.args.train_batch_size * self.args.world_size
        size = together * self.args.gradient_accumulation_steps
        rows = len(self.train_dataset)
        return Order(
            self.train_dataset.lengths,
            batch_size=size,
            seed=self.args.data_seed,
            first_epoch=step_of(self.start) // -(-rows // size) if self.start else 0,
            # Processes see equally many micro-batches, of equally many examples.
            parts=together if self.args.world_size > 1 else 1,
        )

    def create_optimizer(self, model: Any = None) -> Any:
        """AdamW. Parameters of one factor on the rate and one weight decay make a group."""
        model = self.model if model is None else model
        decaying = set(self.get_decay_parameter_names(model))
        groups: dict[tuple[float, bool], list[torch.nn.Parameter]] = {}
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                factor = self.recipe.factor(name) if self.recipe.factor else 1.0
                groups.setdefault((factor, name in decaying), []).append(parameter)
        kind, options = self.get_optimizer_cls_and_kwargs(self.args, model)
        self.optimizer = kind(
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
        """The run's own rate, whatever the first group's factor."""
        return float(super()._get_learning_rate() / self.optimizer.param_groups[0]["factor"])

    def compute_loss(self, model: Any, inputs: dict[str, Any], *rest: Any, **options: Any) -> Any:
        """The Trainer's, which keeps in mind which rows a step saw."""
        rows = inputs.pop("row")
        found = super().compute_loss(model, inputs, *rest, **options)
        self.seen.append((rows, found.detach()))
        return found

    @torch.no_grad()
    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """The validation split's loss, a mean over all its tokens; and the captions' score where that selects."""
        self.model.eval()
        found = []
        for batch in self.get_eval_dataloader():
            inputs = self._prepare_inputs(batch)
            labels, _ = inputs.pop("labels"), inputs.pop("row")
            found.append(self.accelerator.gather_for_metrics(sums(self.model_wrapped(**inputs), labels)))
        total, tokens = torch.cat(found).double().sum(dim=0).tolist()
        figures = {"eval_loss": total / tokens}
        if not math.isfinite(total):
            raise UserError(f"{self.report.label}: the validation loss is {total} at step {self.state.global_step}")
        if self.recipe.select_by == "rouge1":
            figures["eval_rouge1"] = mean_rouge1(
                self.eval_dataset,
                rows=self.recipe.select_rows,
                batch_size=self.args.eval_batch_size,
                max_new_tokens=self.recipe.max_new_tokens,
            )
        self.log(figures)
        self.callback_handler.on_evaluate(self.args, self.state, self.control, figures)
        return figures

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Write a whole state, the first process all but the others' random numbers."""
        assert self.states is not None
        unlogged = self.accelerator.gather(self._tr_loss.reshape(1)).tolist()
        if not self.accelerator.is_main_process:
            (folder,) = broadcast_object_list([None])
            self._save_rng_state(str(folder))
            self.accelerator.wait_for_everyone()
        else:
            with self.states.write(self.state.global_step) as folder:
                broadcast_object_list([str(folder)])
                self._write(folder, unlogged)
                self._save_rng_state(str(folder))
                self.accelerator.wait_for_everyone()
        self.accelerator.wait_for_everyone()

    def _write(self, folder: Path, unlogged: list[float]) -> None:
        """Weights, optimizer, schedule, the log so far, the best weights."""
        # Buffers may share memory, which safetensors does not write.
        save_file({name: tensor.detach().clone() for name, tensor in self.changing.items()}, folder / WEIGHTS)
        if self.best.kept:
            save_file(self.best.kept, folder / BEST)
        self._save_optimizer_and_scheduler(str(folder))
        self._save_scaler(str(folder))
        self.state.save_to_json(str(folder / TRAINER_STATE_NAME))
        log = {
            "rows": self.report.rows,
            "sums": unlogged,
            "since": self._globalstep_last_logged,
            "best": self.best.record,
            "batch_size": self.recipe.batch_size,
        }
        files.write_json(folder / LOG, log)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        folder = Path(resume_from_checkpoint)
        put(self.changing, load_file(folder / WEIGHTS))
        self.best.record = files.read_json(folder / LOG)["best"]
        if (folder / BEST).exists():
            self.best.kept = load_file(folder / BEST)


def step_of(state: Path) -> int:
    """The step of a state by its folder's name."""
    return int(state.name.removeprefix("step-"))
