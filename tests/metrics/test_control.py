"""The no-image control gives every image another one's caption."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radcap.metrics.control import shuffled


@pytest.mark.parametrize(
    ("captions", "expected"),
    [(["a", "b", "c", "d"], ["c", "d", "a", "b"]), (["a", "b", "c"], ["b", "c", "a"]), ([], [])],
)
def test_captions_move_half_the_split(captions: list[str], expected: list[str]) -> None:
    assert shuffled(captions) == expected


@given(st.integers(2, 99))
def test_none_keeps_its_own_and_none_is_lost(count: int) -> None:
    moved = shuffled([str(index) for index in range(count)])
    assert all(int(caption) != index for index, caption in enumerate(moved))
    assert sorted(map(int, moved)) == list(range(count))
