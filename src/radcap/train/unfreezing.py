"""Progressive unfreezing: which components of a fully fine-tuned model are frozen in which part of the steps."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from transformers import TrainerCallback

from radcap.models.family import Family
from radcap.settings import Phase


def phase_starts(phases: Sequence[Phase], steps: int) -> list[int]:
    """The number of steps done when each phase begins. A phase's share is its share of `steps`."""
    shares_before = [sum(phase.share for phase in phases[:index]) for index in range(len(phases))]
    return [round(share * steps) for share in shares_before]


def freeze_components(family: Family, model: Any, frozen: Collection[str]) -> int:
    """Freeze these components and make all others trainable. Returns the number of trainable parameters."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(family.component(name) not in frozen)
    return count_trainable(model)


def count_trainable(model: Any) -> int:
    """The number of trainable parameters."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


class UnfreezingCallback(TrainerCallback):  # type: ignore[misc]
    """Freezes and unfreezes components at the first step of each phase, and prints it.

    The Trainer creates the optimizer before training begins, when everything is still trainable. The optimizer skips
    weights without a gradient, so the moments of a component start when it is unfrozen.
    """

    def __init__(self, family: Family, phases: Sequence[Phase], steps: int, *, label: str) -> None:
        self.family, self.phases, self.label = family, phases, label
        self.starts = phase_starts(phases, steps)

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        """Enter the current phase again when a run resumes in the middle of it."""
        started = [number for number, start in enumerate(self.starts) if start < state.global_step]
        if started:
            self._enter(started[-1], model)

    def on_step_begin(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        for number, start in enumerate(self.starts):
            if start == state.global_step:
                self._enter(number, model)

    def _enter(self, number: int, model: Any) -> None:
        frozen = self.phases[number].frozen
        trainable = freeze_components(self.family, model, frozen)
        description = f"frozen: {', '.join(frozen)}" if frozen else "nothing frozen"
        print(f"{self.label}: phase {number + 1}/{len(self.phases)}, {description}, {trainable:,} trainable parameters")
