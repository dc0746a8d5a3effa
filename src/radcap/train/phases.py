"""Progressive unfreezing: which components of a fully fine-tuned model stand still in which part of the steps."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from transformers import TrainerCallback

from radcap.models.family import Family
from radcap.settings import Phase


def starts(phases: Sequence[Phase], steps: int) -> list[int]:
    """The step before which each phase begins; the shares are those of `steps`."""
    passed = [sum(phase.share for phase in phases[:index]) for index in range(len(phases))]
    return [round(share * steps) for share in passed]


def freeze(family: Family, model: Any, frozen: Collection[str]) -> int:
    """Let all components but the frozen ones train. Returns the number of trainable parameters."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(family.component(name) not in frozen)
    return trainable(model)


def trainable(model: Any) -> int:
    """The number of parameters that train."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


class Phases(TrainerCallback):  # type: ignore[misc]
    """Freezes and unfreezes at the phases' first steps, and says so.

    The Trainer makes the optimizer before training begins, while everything trains; it passes over weights without
    a gradient, so that a component's moments start when it thaws.
    """

    def __init__(self, family: Family, phases: Sequence[Phase], steps: int, *, label: str) -> None:
        self.family, self.phases, self.label = family, phases, label
        self.starts = starts(phases, steps)

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        """A run that goes on in the middle of a phase enters it again."""
        begun = [number for number, start in enumerate(self.starts) if start < state.global_step]
        if begun:
            self._enter(begun[-1], model)

    def on_step_begin(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        for number, start in enumerate(self.starts):
            if start == state.global_step:
                self._enter(number, model)

    def _enter(self, number: int, model: Any) -> None:
        frozen = self.phases[number].frozen
        count = freeze(self.family, model, frozen)
        still = f"frozen: {', '.join(frozen)}" if frozen else "nothing frozen"
        print(f"{self.label}: phase {number + 1}/{len(self.phases)}, {still}, {count:,} parameters train")
