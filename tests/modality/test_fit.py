"""Training: weights of classes, changes to images, repeatable, independent of workers and cache."""

from pathlib import Path
from typing import Any

import pytest
import torch

from radcap.modality.classes import CLASSES
from radcap.modality.classifier import Classifier
from radcap.modality.dataset import augment
from radcap.modality.fit import class_weights
from radcap.settings import Augmentation
from radcap.train.log import as_csv
from tests.modality.cases import RULES, train, write_split
from tests.models_for_tests import PARAMS

COUNTS = dict.fromkeys(CLASSES, 0) | {"ct": 100, "other": 4}


@pytest.mark.parametrize(("balance", "ratio"), [(0.0, 1.0), (0.5, 5.0), (1.0, 25.0)])
def test_rare_classes_weigh_more_and_the_mean_row_weighs_one(balance: float, ratio: float) -> None:
    weights = dict(zip(CLASSES, class_weights(COUNTS, balance).tolist(), strict=True))
    assert weights["other"] / weights["ct"] == pytest.approx(ratio)
    assert sum(COUNTS[name] * weights[name] for name in CLASSES) == pytest.approx(104)
    assert weights["mri"] == 0


def changed(pixels: torch.Tensor, seed: int = 0, **ranges: float) -> torch.Tensor:
    still = {"rotation": 0.0, "shift": 0.0, "zoom": 0.0, "contrast": 0.0}
    return augment(pixels, Augmentation(**still | ranges), torch.Generator().manual_seed(seed))


def test_no_range_is_no_change() -> None:
    pixels = torch.randn(3, 3, 12, 12)
    torch.testing.assert_close(changed(pixels), pixels)


@pytest.mark.parametrize(("name", "value"), [("rotation", 10.0), ("shift", 0.1), ("zoom", 0.1), ("contrast", 0.2)])
def test_each_range_changes_each_image_by_its_own_draw_within_it(name: str, value: float) -> None:
    pixels = torch.randn(1, 1, 12, 12).expand(8, 3, 12, 12)
    made = changed(pixels, **{name: value})
    assert made.shape == pixels.shape
    assert len({tuple(image.flatten().tolist()) for image in made}) == 8
    assert torch.equal(made, changed(pixels, **{name: value}))
    assert not torch.equal(made, changed(pixels, seed=1, **{name: value}))
    assert (made.abs().amax() <= pixels.abs().amax() * (1 + value * (name == "contrast")) + 1e-5).all()


def test_a_shift_moves_by_its_share_of_the_side() -> None:
    """A column of light in the middle of 40 comes to lie within 10 % of it, and somewhere else than in the middle."""
    pixels = torch.zeros(64, 3, 40, 40)
    pixels[:, :, :, 20] = 1.0
    places = changed(pixels, shift=0.1)[:, 0, 20].argmax(-1)
    assert places.min() in (16, 17)
    assert places.max() in (23, 24)


def test_left_stays_left() -> None:
    """At the settings' own ranges: a mirrored radiograph would show another patient."""
    pixels = torch.zeros(500, 3, 32, 32)
    pixels[:, :, 4:14, 4:14] = 1.0
    made = augment(pixels, PARAMS.modality.augmentation, torch.Generator().manual_seed(0))
    quarters = [
        made[:, :, rows, columns].mean((1, 2, 3))
        for rows in (slice(16), slice(16, 32))
        for columns in (slice(16), slice(16, 32))
    ]
    assert (torch.stack(quarters).argmax(0) == 0).all()


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return write_split(tmp_path_factory.mktemp("split") / "rows.arrow", 30)


@pytest.fixture(scope="module")
def trained(rows: Any) -> tuple[Classifier, list[dict[str, float]]]:
    return train(rows)


def same(first: Classifier, second: Classifier) -> bool:
    one, two = first.model.state_dict(), second.model.state_dict()
    return all(torch.equal(one[name], two[name]) for name in one)


def test_the_log_has_a_row_an_epoch_and_the_loss_falls(trained: tuple[Classifier, list[dict[str, float]]]) -> None:
    log = trained[1]
    # 30 rows are three batches of eight, and six that are left out.
    assert [(row["step"], row["epoch"]) for row in log] == [(3, 1), (6, 2), (9, 3)]
    assert log[-1]["loss"] < log[0]["loss"]
    assert log[-1]["learning_rate"] < log[0]["learning_rate"]
    assert as_csv(log).splitlines()[0].startswith("step,epoch,loss,learning_rate")
    assert all(row["valid_loss"] > 0 for row in log)


@pytest.mark.parametrize("changes", [{}, {"workers": 1}, {"cache": False}], ids=["again", "workers", "uncached"])
def test_the_same_run_gives_the_same_weights(rows: Any, trained: tuple, changes: dict[str, Any]) -> None:
    again, log = train(rows, **changes)
    assert log == trained[1]
    assert same(again, trained[0])


def test_rules_change_the_training(rows: Any, trained: tuple) -> None:
    still = RULES.augmentation.model_copy(update={"rotation": 0.0})
    other, _ = train(rows, rules=RULES.model_copy(update={"augmentation": still}))
    assert not same(other, trained[0])


def test_a_split_smaller_than_a_batch_trains(tmp_path: Path) -> None:
    _, log = train(write_split(tmp_path / "two.arrow", 2), epochs=1)
    assert [row["step"] for row in log] == [1]


def test_a_loss_that_is_no_number_stops(rows: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("radcap.modality.fit.class_weights", lambda *_: torch.full((len(CLASSES),), torch.nan))
    with pytest.raises(FloatingPointError, match="modality epoch 1/3: loss is nan"):
        train(rows)
