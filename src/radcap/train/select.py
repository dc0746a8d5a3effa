"""Which weights of a run are kept, and when it ends early."""

from __future__ import annotations

from typing import Any

import torch
from transformers import TrainerCallback

# What selects -> its name among a validation's figures, and whether less of it is better.
FIGURES = {"valid_loss": ("eval_loss", True), "rouge1": ("eval_rouge1", False)}


class Best(TrainerCallback):  # type: ignore[misc]
    """Keeps a copy of the best validation's weights, and ends a run after `patience` validations without a better one.

    `weights` are the tensors that change in training, by name; nothing is copied where the last ones are kept.
    """

    def __init__(self, by: str, weights: dict[str, torch.Tensor], *, patience: int, label: str) -> None:
        self.by, self.weights, self.patience, self.label = by, weights, patience, label
        self.kept: dict[str, torch.Tensor] = {}
        self.record: dict[str, Any] = {"step": None, "figure": None, "since": 0}

    def on_evaluate(
        self, args: Any, state: Any, control: Any, metrics: dict[str, float] | None = None, **_: Any
    ) -> None:
        if self.by == "last":
            return
        name, less = FIGURES[self.by]
        figure, best = (metrics or {})[name], self.record["figure"]
        if best is None or (figure < best if less else figure > best):
            self.record = {"step": state.global_step, "figure": figure, "since": 0}
            self.kept = {name: tensor.detach().to("cpu", copy=True) for name, tensor in self.weights.items()}
            return
        self.record["since"] += 1
        if self.patience and self.record["since"] >= self.patience:
            print(f"{self.label}: ends early at step {state.global_step}/{state.max_steps}, {self.told()}")
            control.should_training_stop, control.should_save = True, False

    def restore(self) -> None:
        """Bring the kept weights back, and say which they are."""
        if self.kept:
            put(self.weights, self.kept)
            print(f"{self.label}: keeps the weights of step {self.record['step']}, {self.told()}")

    def told(self) -> str:
        return f"best {self.by} {self.record['figure']:.4f} at step {self.record['step']}"


def put(weights: dict[str, torch.Tensor], values: dict[str, torch.Tensor]) -> None:
    """Copy values into the tensors of the same names. They must be the same names."""
    assert values.keys() == weights.keys()
    with torch.no_grad():
        for name, tensor in weights.items():
            tensor.copy_(values[name])
