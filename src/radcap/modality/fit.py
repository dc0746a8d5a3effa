"""Training of the classifier: AdamW on the cross-entropy, classes weighted by their rows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional
from torch.utils.data import DataLoader, RandomSampler
from transformers import get_scheduler

from radcap.modality.classes import CLASSES
from radcap.modality.classifier import Classifier
from radcap.modality.dataset import PixelDataset, augment
from radcap.runtime.progress import track
from radcap.settings import Modality, ProfileModality

# Names of settings -> names of transformers.
SCHEDULES = {"constant": "constant_with_warmup"}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that defines a training besides model and data. `autocast`: compute in bfloat16 on a GPU."""

    rules: Modality
    run: ProfileModality
    counts: Mapping[str, int]
    seed: int
    workers: int = 0
    autocast: bool = False


def class_weights(counts: Mapping[str, int], balance: float) -> torch.Tensor:
    """Each class's weight, n ** -balance for its n rows, scaled to a mean of 1 over all rows; 0 where n is 0.

    balance 0: every row counts alike; 1: every class does.
    """
    rows = torch.tensor([float(counts[name]) for name in CLASSES])
    raw = torch.where(rows > 0, rows.clamp(min=1) ** -balance, 0.0)
    return raw * rows.sum() / (raw * rows).sum()


def fit(classifier: Classifier, train: PixelDataset, valid: PixelDataset, recipe: Recipe) -> list[dict[str, float]]:
    """Train in place; return the log, one row an epoch.

    An epoch's last, smaller batch is left out: batch norms learn little from a few images, and nothing from one.
    Raises FloatingPointError when the loss is no longer finite.
    """
    epochs, batches, log = recipe.run.epochs, _batches(train, recipe), []
    steps = _Steps(classifier, recipe, total=epochs * len(batches))
    # On a GPU gradients of convolutions would be summed in any order otherwise.
    with torch.backends.cudnn.flags(enabled=True, deterministic=True):
        for epoch in range(1, epochs + 1):
            label = f"modality epoch {epoch}/{epochs}"
            classifier.model.train()
            losses = [steps.take(*batch) for batch in track(batches, total=len(batches), label=label)]
            row = {"step": epoch * len(batches), "epoch": epoch, "loss": _finite(torch.stack(losses).mean(), label)}
            log.append(row | {"learning_rate": round(steps.rate, 8)} | _validated(classifier, valid, recipe, label))
            print(f"{label}: " + ", ".join(f"{name} {value:.4f}" for name, value in log[-1].items() if "loss" in name))
    classifier.model.eval()
    return log


class _Steps:
    """The optimizer's steps: weights of classes, changes to images, AdamW and its schedule."""

    def __init__(self, classifier: Classifier, recipe: Recipe, *, total: int) -> None:
        self.classifier, self.recipe = classifier, recipe
        self.optimizer, self.schedule = _optimizer(classifier.model, recipe, steps=total)
        self.weights = class_weights(recipe.counts, recipe.rules.balance).to(classifier.device)
        self.drawn = torch.Generator().manual_seed(recipe.seed)
        self.rate = 0.0

    def take(self, pixels: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        """Learn from one batch and return its loss; `rate` is the learning rate that it was taken with."""
        changed = augment(pixels.to(self.classifier.device), self.recipe.rules.augmentation, self.drawn)
        loss = _loss(self.classifier, changed, classes, self.weights, autocast=self.recipe.autocast)
        self.optimizer.zero_grad()
        torch.autograd.backward(loss)
        self.rate = self.schedule.get_last_lr()[0]
        self.optimizer.step()
        self.schedule.step()
        return loss.detach()


def _batches(train: PixelDataset, recipe: Recipe) -> Any:
    return DataLoader(
        train,
        recipe.run.batch_size,
        # With a generator of its own, which the loader does not draw its workers' seeds from.
        sampler=RandomSampler(train, generator=torch.Generator().manual_seed(recipe.seed)),
        drop_last=len(train) > recipe.run.batch_size,
        num_workers=recipe.workers,
        persistent_workers=recipe.workers > 0,
    )


def _optimizer(model: Any, recipe: Recipe, *, steps: int) -> tuple[Any, Any]:
    """AdamW that lets biases and batch norms be, and its schedule."""
    rules = recipe.rules
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": rules.weight_decay},
        {"params": [p for p in parameters if p.ndim == 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=recipe.run.learning_rate)
    name = SCHEDULES.get(rules.schedule, rules.schedule)
    return optimizer, get_scheduler(name, optimizer, round(rules.warmup * steps), steps)


def _loss(
    classifier: Classifier, pixels: torch.Tensor, classes: torch.Tensor, weights: torch.Tensor, *, autocast: bool
) -> torch.Tensor:
    kind = classifier.device.type
    with torch.autocast(kind, torch.bfloat16, enabled=autocast and kind == "cuda"):
        logits = classifier.model(pixels).logits
    return functional.cross_entropy(logits.float(), classes.to(classifier.device), weight=weights)


@torch.inference_mode()
def _validated(classifier: Classifier, valid: PixelDataset, recipe: Recipe, label: str) -> dict[str, float]:
    """The plain mean loss over the validation rows; nothing where none has a class."""
    if not len(valid):
        return {}
    classifier.model.eval()
    alike = torch.ones(len(CLASSES), device=classifier.device)
    total = torch.zeros(())
    for pixels, classes in DataLoader(valid, recipe.run.batch_size, num_workers=recipe.workers):
        loss = _loss(classifier, pixels.to(classifier.device), classes, alike, autocast=recipe.autocast)
        total += loss.cpu() * len(classes)
    return {"valid_loss": _finite(total / len(valid), label)}


def _finite(loss: torch.Tensor, label: str) -> float:
    value = loss.item()
    if not math.isfinite(value):
        raise FloatingPointError(f"{label}: loss is {value}")
    return round(value, 8)
