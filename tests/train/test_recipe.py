"""How an optimizer batch is split into micro-batches, and between processes."""

import pytest

from radcap.errors import UserError
from radcap.train.recipe import Recipe
from tests.train.test_fit import RECIPE


def recipe(size: int, accumulation: int) -> Recipe:
    return Recipe(**RECIPE.__dict__ | {"batch_size": size, "accumulation": accumulation})


@pytest.mark.parametrize(
    ("batch", "expected"), [((16, 1), (8, 2)), ((6, 1), (3, 2)), ((3, 2), (1, 6)), ((5, 3), (1, 15)), ((1, 16), None)]
)
def test_a_smaller_micro_batch_divides_the_batch(batch: tuple[int, int], expected: tuple[int, int] | None) -> None:
    smaller = recipe(*batch).with_smaller_micro_batches()
    assert (smaller and (smaller.batch_size, smaller.accumulation)) == expected


@pytest.mark.parametrize(
    ("batch", "processes", "expected"),
    [((16, 1), 2, (8, 1)), ((8, 2), 2, (8, 1)), ((4, 3), 2, (3, 2)), ((8, 4), 8, (4, 1)), ((16, 1), 1, (16, 1))],
)
def test_processes_share_a_batch_equally(batch, processes: int, expected) -> None:
    size, accumulation = batch
    share = recipe(size, accumulation).per_process(processes)
    assert (share.batch_size, share.accumulation) == expected
    assert share.batch_size * share.accumulation * processes == size * accumulation


def test_a_batch_that_cannot_be_divided_is_one_clear_line() -> None:
    with pytest.raises(
        UserError,
        match=r"^train.processes: 3 processes cannot share a batch of 4 x 1 equally; batch_size \* accumulation",
    ):
        RECIPE.per_process(3)
