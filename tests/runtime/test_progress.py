"""How far a loop is: a file for `radcap repro`, a bar on a terminal, lines elsewhere."""

import json
import sys
from pathlib import Path

import pytest

from radcap.runtime import progress
from radcap.runtime.progress import Progress, Status, duration, track


@pytest.mark.parametrize(("seconds", "text"), [(0.2, "0 s"), (59.4, "59 s"), (59.6, "1:00"), (3723, "1:02:03")])
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("figures", "rate", "text"),
    [
        ({}, 0.0, "step 30/240"),
        ({"loss": 1.23456}, 9.81, "step 30/240, loss 1.2346, 9.8/s, 21 s left"),
        ({"loss": 1.0, "valid_loss": 2.0}, 0.2, "step 30/240, loss 1.0000, valid_loss 2.0000, 5.0 s each, 17:30 left"),
        ({}, 0.2, "step 30/240, 5.0 s each, 17:30 left"),
    ],
)
def test_a_status_in_words(figures: dict[str, float], rate: float, text: str) -> None:
    assert Status("finetune", 30, 240, "step", figures, rate).text() == text


def test_what_is_done_has_no_time_left() -> None:
    assert Status("read", 7, 7, "", {}, 2.0).text() == "7/7, 2.0/s"


def test_the_file_says_where_the_loop_is_until_it_ends(tmp_path: Path, monkeypatch, capsys) -> None:
    file = tmp_path / "lane-0.json"
    monkeypatch.setenv(progress.VARIABLE, str(file))
    assert progress.read(file) is None
    loop = Progress("finetune m", 240, done=20, unit="step")
    assert progress.read(file) == Status("finetune m", 20, 240, "step", {}, 0.0)
    loop.view.last_shown = 0.0
    loop.update(30, {"loss": 1.5})
    told = json.loads(file.read_text())
    assert told.pop("rate") > 0
    assert told == {"label": "finetune m", "done": 30, "total": 240, "unit": "step", "figures": {"loss": 1.5}}
    loop.close()
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr() == ("", "")


def test_work_goes_on_where_the_file_cannot_be_written(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv(progress.VARIABLE, str(tmp_path / "no/such/folder/lane-0.json"))
    assert list(track(range(3), total=3, label="read")) == [0, 1, 2]


def test_lines_come_at_tenths_and_milestones(monkeypatch, capsys) -> None:
    monkeypatch.setattr(progress._Lines, "LEAST", -1.0)
    loop = Progress("base m", 200, unit="step")
    for step in range(1, 201):
        loop.update(step, {"loss": 2.0} if step == 25 else None, milestone=step == 33)
    loop.close()
    out, lines = capsys.readouterr()
    assert out == ""
    steps = [line.partition(",")[0] for line in lines.splitlines()]
    assert steps == [f"base m: step {step}/200" for step in (0, 20, 33, *range(40, 201, 20))]
    assert [", loss 2.0000, " in line for line in lines.splitlines()] == [False, False, *[True] * 10]


def test_a_long_silence_is_broken(monkeypatch, capsys) -> None:
    monkeypatch.setattr(progress._Lines, "MOST", 0.0)
    loop = Progress("base m", 100_000, unit="step")
    loop.update(3)
    loop.close()
    assert capsys.readouterr().err.splitlines()[-1].startswith("base m: step 3/100000, ")


def test_what_is_short_prints_nothing(monkeypatch, capsys) -> None:
    monkeypatch.setattr(progress._Lines, "LEAST", -1.0)
    assert list(track(range(99), total=99, label="read")) == list(range(99))
    assert capsys.readouterr() == ("", "")


def test_of_several_processes_the_first_shows_it(monkeypatch, capsys) -> None:
    monkeypatch.setattr(progress._Lines, "LEAST", -1.0)
    monkeypatch.setenv("RANK", "1")
    assert len(list(track(range(200), total=200, label="read"))) == 200
    assert capsys.readouterr() == ("", "")


def test_a_bar_ends_with_its_loop_also_where_that_fails(monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")

    def broken() -> None:
        for _ in track(range(4), total=4, label="read [a]"):
            print("a line of its own")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        broken()
    _, shown = capsys.readouterr()
    assert "read [a]" in shown
    hides, shows = "\x1b[?25l", "\x1b[?25h"
    assert shown.count(hides) == shown.count(shows) == 1
    assert shown.index(hides) < shown.index("a line of its own") < shown.index(shows)
