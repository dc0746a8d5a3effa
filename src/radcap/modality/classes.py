"""The classes, and the rules for rows whose concepts do not name just one modality."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Self

from radcap.data import concepts
from radcap.settings import Modality, ModalityRule

# The order of the model's outputs.
CLASSES = ("ct", "x-ray", "mri", "ultrasound", "angiography", "pet", "oct", "other")


def label(cuis: Iterable[str], *, none: ModalityRule, several: ModalityRule) -> str | None:
    """The class of a row by its concepts; None where the rule for its case drops it.

    `none`, `several`: other | drop, for concepts that name no modality, or more than one.
    """
    modality = concepts.modality(cuis)
    label = {"none": none, "several": several}.get(modality, modality)
    return None if label == "drop" else label


@dataclass(frozen=True)
class Labels:
    """The class of every row of a split, None where it is left out, and how many rows are left out by which rule."""

    classes: tuple[str | None, ...]
    left_out: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, rows: Iterable[Iterable[str]], rules: Modality) -> Self:
        """`rows`: each row's concepts."""
        classes: list[str | None] = []
        left_out = {"none": 0, "several": 0}
        for cuis in rows:
            classes.append(label(cuis, none=rules.none, several=rules.several))
            if classes[-1] is None:
                left_out[concepts.modality(cuis)] += 1
        return cls(tuple(classes), left_out)

    @property
    def counts(self) -> dict[str, int]:
        """Rows of each class, also of classes that do not occur."""
        classes = Counter(self.classes)
        return {name: classes[name] for name in CLASSES}

    @property
    def examples(self) -> list[tuple[int, int]]:
        """(row, index of its class) of the rows that are not left out."""
        return [(row, CLASSES.index(name)) for row, name in enumerate(self.classes) if name is not None]

    def report(self) -> dict[str, Any]:
        """How many rows have a class, which, and why others have none."""
        counts = self.counts
        return {"n": sum(counts.values()), "classes": counts, "left_out": self.left_out}

    def missing(self) -> str | None:
        """Why nothing can be learnt from these rows; None where they hold two classes or more."""
        occurring = [name for name, count in self.counts.items() if count]
        if len(occurring) > 1:
            return None
        reason = f"only the class {occurring[0]}" if occurring else "no class"
        return f"the concepts of the train split name {reason}; a classifier needs two"
