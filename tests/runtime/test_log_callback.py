"""Training progress: a bar with loss, rate and remaining time on a terminal, plain lines elsewhere."""

import re
import sys

import pytest

from tests.train.test_fit import rows, trained  # noqa: F401


def test_a_terminal_gets_a_bar(rows, monkeypatch: pytest.MonkeyPatch, capsys) -> None:  # noqa: F811
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "120")
    trained("smolvlm_500m", rows, steps=3)
    out, bar = capsys.readouterr()
    assert "step 3/3" not in out
    shown = bar.replace("\r", "\n").splitlines()
    last = next(line for line in reversed(shown) if "smolvlm_500m" in line)
    # percentage, step, elapsed time < remaining time, rate, loss
    assert re.search(r"smolvlm_500m: +100%.* 3/3 \[\d+:\d+<\d+:\d+, .*(step/s|s/step), (valid_)?loss=\d+\.\d{4}", last)


def test_elsewhere_lines_are_printed(rows, capsys) -> None:  # noqa: F811
    trained("smolvlm_500m", rows, steps=16)
    out, bar = capsys.readouterr()
    assert "100%" not in bar
    lines = [line for line in out.splitlines() if re.match(r"smolvlm_500m: step \d+/16, ", line)]
    # All sixteen validations are printed.
    assert len([line for line in lines if "valid_loss" in line]) == 16
    assert all(re.search(r"(valid_)?loss \d+\.\d{4}, \d+\.\d/s, \d+ s left$", line) for line in lines)
