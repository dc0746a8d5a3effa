"""Which class a row has by its concepts, and which rows are left out."""

import pytest

from radcap.data.concepts import MODALITIES
from radcap.modality.classes import CLASSES, Labels, label
from tests.models_for_tests import PARAMS

CT, XRAY, PET, PET_CT, OCT, CHEST = "C0040405", "C1306645", "C0032743", "C1699633", "C0920367", "C0817096"

LABELS = [
    # concepts, rule for none, rule for several, class
    ((CT,), "other", "drop", "ct"),
    ((CT, CHEST), "drop", "drop", "ct"),
    ((CHEST, XRAY), "other", "other", "x-ray"),
    ((OCT,), "other", "drop", "oct"),
    ((CT, CT), "other", "drop", "ct"),
    ((PET, PET_CT), "other", "drop", "pet"),
    ((), "other", "drop", "other"),
    ((), "drop", "other", None),
    ((CHEST,), "other", "drop", "other"),
    ((CHEST,), "drop", "drop", None),
    ((CT, PET), "other", "drop", None),
    ((CT, PET), "drop", "other", "other"),
    ((CT, PET, XRAY), "other", "other", "other"),
]


@pytest.mark.parametrize(("cuis", "none", "several", "wanted"), LABELS)
def test_a_row_s_class(cuis: tuple[str, ...], none: str, several: str, wanted: str | None) -> None:
    assert label(cuis, none=none, several=several) == wanted


def test_every_modality_is_a_class() -> None:
    assert CLASSES == ("ct", "x-ray", "mri", "ultrasound", "angiography", "pet", "oct", "other")
    assert {*MODALITIES.values(), "other"} == set(CLASSES)


ROWS = [[CT], [], [CT, PET], [XRAY], [CHEST], [CT]]


@pytest.mark.parametrize(
    ("none", "several", "classes", "left_out"),
    [
        ("other", "drop", ("ct", "other", None, "x-ray", "other", "ct"), {"none": 0, "several": 1}),
        ("drop", "drop", ("ct", None, None, "x-ray", None, "ct"), {"none": 2, "several": 1}),
        ("drop", "other", ("ct", None, "other", "x-ray", None, "ct"), {"none": 2, "several": 0}),
        ("other", "other", ("ct", "other", "other", "x-ray", "other", "ct"), {"none": 0, "several": 0}),
    ],
)
def test_what_is_left_out_is_counted(none: str, several: str, classes: tuple, left_out: dict[str, int]) -> None:
    made = Labels.of(ROWS, PARAMS.modality.model_copy(update={"none": none, "several": several}))
    assert (made.classes, made.left_out) == (classes, left_out)
    report = made.report()
    assert report["n"] == len(made.examples) == sum(report["classes"].values())
    assert report["n"] + sum(left_out.values()) == len(ROWS)
    assert [CLASSES[index] for _, index in made.examples] == [name for name in classes if name]
    assert [row for row, _ in made.examples] == [row for row, name in enumerate(classes) if name]


TRAIN = [
    ([[CT], [XRAY]], None),
    ([[CT], []], None),
    ([[CT], [CT]], "the concepts of the train split name only the class ct; a classifier needs two"),
    ([[], []], "the concepts of the train split name only the class other; a classifier needs two"),
    ([[CT, PET]], "the concepts of the train split name no class; a classifier needs two"),
    ([], "the concepts of the train split name no class; a classifier needs two"),
]


@pytest.mark.parametrize(("rows", "reason"), TRAIN, ids=[str(number) for number in range(len(TRAIN))])
def test_fewer_than_two_classes_are_nothing_to_learn_from(rows: list[list[str]], reason: str | None) -> None:
    assert Labels.of(rows, PARAMS.modality).missing() == reason
