"""Figures computed by hand."""

import pytest

from radcap.modality.classes import CLASSES
from radcap.modality.metrics import classification_metrics

UNDEFINED = {"precision": None, "recall": None, "f1": None, "n": 0}


def test_figures_by_hand() -> None:
    labels = ["ct", "ct", "ct", "mri", "pet", None, "mri"]
    predicted = ["ct", "ct", "mri", "mri", "oct", "ct", "mri"]
    found = classification_metrics(labels, predicted)
    classes = dict.fromkeys(CLASSES, UNDEFINED) | {
        "ct": {"precision": 1.0, "recall": 0.6667, "f1": 0.8, "n": 3},
        "mri": {"precision": 0.6667, "recall": 1.0, "f1": 0.8, "n": 2},
        "pet": {"precision": None, "recall": 0.0, "f1": 0.0, "n": 1},
        "oct": {"precision": 0.0, "recall": None, "f1": 0.0, "n": 0},
    }
    # Over ct, mri and pet: oct does not occur.
    assert found == {"accuracy": 0.6667, "macro_f1": 0.5333, "n": 6, "classes": classes}
    assert list(found["classes"]) == list(CLASSES)


@pytest.mark.parametrize("labels", [[], [None, None]])
def test_without_labels_nothing_is_defined(labels: list[None]) -> None:
    found = classification_metrics(labels, ["ct"] * len(labels))
    assert found == {"accuracy": None, "macro_f1": None, "n": 0, "classes": dict.fromkeys(CLASSES, UNDEFINED)}


def test_all_right_is_one() -> None:
    found = classification_metrics(list(CLASSES), list(CLASSES))
    assert (found["accuracy"], found["macro_f1"], found["n"]) == (1.0, 1.0, 8)
    assert all(row == {"precision": 1.0, "recall": 1.0, "f1": 1.0, "n": 1} for row in found["classes"].values())
