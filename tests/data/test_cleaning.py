"""Captions become one clean line; ids that could leave their folder are refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radcap.data import cleaning


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("  CT of\u00a0the  chest \t", "CT of the chest"),
        ("\u202f", ""),
        ("a\u2028b\u2029c\x85d\x0be", "a b c d e"),
        ("\ufeffzero\u200bwidth", "zerowidth"),
        ("cafe\u0301", "caf\u00e9"),
        ("5 µm × 3 mm – small", "5 µm × 3 mm – small"),
        ("\x00", ""),
        ("", ""),
    ],
)
def test_caption(raw: str, expected: str) -> None:
    assert cleaning.clean_caption(raw) == expected


@given(st.text())
def test_a_cleaned_caption_is_one_line_and_stays(raw: str) -> None:
    cleaned = cleaning.clean_caption(raw)
    assert len(cleaned.splitlines()) <= 1
    assert cleaned == cleaned.strip()
    assert "  " not in cleaned
    assert cleaning.clean_caption(cleaned) == cleaned


@pytest.mark.parametrize(
    ("id_", "plain"),
    [
        ("ROCOv2_2023_train_000001", True),
        ("a.b-c", True),
        ("../../etc/passwd", False),
        ("..", False),
        ("a..b", False),
        ("a/b", False),
        ("a\\b", False),
        ("", False),
        (".hidden", False),
        ("a b", False),
        ("a\n", False),
        ("x" * 201, False),
    ],
)
def test_plain_id(id_: str, plain: bool) -> None:
    assert cleaning.is_plain_id(id_) is plain
