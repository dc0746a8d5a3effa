"""Training progress: a bar with loss, rate and remaining time on a terminal, plain lines elsewhere."""

import re
import sys

import pytest

from tests.train.test_fit import rows, trained  # noqa: F401

RATE = r"\d+\.\d(/s| s each)"


def test_a_terminal_gets_a_bar(rows, monkeypatch: pytest.MonkeyPatch, capsys) -> None:  # noqa: F811
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "160")
    trained("smolvlm_500m", rows, steps=3)
    out, bar = capsys.readouterr()
    assert "step 3/3" not in out
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "\n", bar).splitlines()
    last = next(line for line in reversed(shown) if "step" in line)
    assert re.search(rf"step 3/3, loss \d+\.\d{{4}}, valid_loss \d+\.\d{{4}}, {RATE}", last)


def test_elsewhere_lines_are_printed(rows, capsys) -> None:  # noqa: F811
    trained("smolvlm_500m", rows, steps=16)
    out, err = capsys.readouterr()
    assert "step " not in out
    lines = [line for line in err.splitlines() if re.match(r"smolvlm_500m: step \d+/16, ", line)]
    # One for every validation.
    assert len(lines) == 16
    assert all(
        re.search(rf"(, (valid_)?loss \d+\.\d{{4}}){{2}}, {RATE}(, (\d+ s|\d+:\d\d) left)?$", line) for line in lines
    )
