"""How right the predictions are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from sklearn.metrics import accuracy_score, precision_recall_fscore_support

from radcap.modality.classes import CLASSES

# Decimals of every figure: what `dvc metrics diff` compares.
PLACES = 4


def classification_metrics(labels: Sequence[str | None], predicted: Sequence[str]) -> dict[str, Any]:
    """Accuracy, macro F1 over the classes that occur, n, and each class's precision, recall, F1 and n.

    Rows without a label count in none of them. None where a figure is undefined: no rows, or a class that does not
    occur or is never predicted.
    """
    pairs = [(label, guess) for label, guess in zip(labels, predicted, strict=True) if label is not None]
    if not pairs:
        each = dict.fromkeys(CLASSES, _row([None, None, None, 0]))
        return {"accuracy": None, "macro_f1": None, "n": 0, "classes": each}
    actual, guessed = zip(*pairs, strict=True)
    columns = precision_recall_fscore_support(actual, guessed, labels=CLASSES, zero_division=math.nan)
    each = {name: _row(row) for name, row in zip(CLASSES, zip(*columns, strict=True), strict=True)}
    f1 = [float(f1) for _, _, f1, n in zip(*columns, strict=True) if n]
    return {
        "accuracy": _rounded(accuracy_score(actual, guessed)),
        "macro_f1": _rounded(sum(f1) / len(f1)),
        "n": len(pairs),
        "classes": each,
    }


def _row(values: Sequence[Any]) -> dict[str, float | int | None]:
    *shares, n = values
    return {**dict(zip(("precision", "recall", "f1"), map(_rounded, shares), strict=True)), "n": int(n)}


def _rounded(value: Any) -> float | None:
    return None if value is None or math.isnan(value) else round(float(value), PLACES)
