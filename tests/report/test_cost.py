"""What models took, beside what they are worth."""

from pathlib import Path

import pytest

from radcap import cli, files, layout
from radcap.report import cost

METRICS = {name: {"overall": overall} for name, overall in (("a", 0.1), ("b", 0.2), ("c", 0.4), ("d", 0.3))}


def record(seconds: float, memory: int, device: int | None = None) -> dict:
    told = {"seconds": seconds, "peak_memory_mib": memory, "device_peak_memory_mib": device}
    return {**told, "host": "here", "device": "cpu"}


def test_seconds_and_memory_stand_beside_quality(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for number, key in enumerate("abc"):
        files.write_json(layout.run_record("finetune", key), record(10.0 * (number + 1), 900 - number))
    files.write_json(layout.run_record("generate", "a"), record(3.4, 1))
    page = cost.page(METRICS, cost.records(METRICS)).splitlines()
    assert page[0] == "| Model | base, s | finetune, s | generate, s | score, s | finetune, MiB | Overall |"
    assert page[2] == "| a | n/a | 10 | 3 | n/a | 900 | 0.100 |"
    assert page[5] == "| d | n/a | n/a | n/a | n/a | n/a | 0.300 |"
    assert "Overall and seconds of the fine-tune, 3 models: rho 1.000 (p 0.000), tau 1.000 (p 0.333)" in page
    assert "Overall and memory of the fine-tune, 3 models: rho -1.000 (p 0.000), tau -1.000 (p 0.333)" in page
    assert page[-1].startswith("Ran on: here (cpu).")


def test_a_gpus_memory_counts_where_there_is_one() -> None:
    page = cost.page(METRICS, {("a", "finetune"): record(1, 900, 7000)})
    assert "| a | n/a | 1 | n/a | n/a | 7,000 | 0.100 |" in page
    assert "0 models: rho n/a" not in page
    assert "1 models: rho n/a" in page


def test_the_command_shows_it(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("params.yaml", "configs", "metrics"):
        (tmp_path / name).symlink_to(root / name)
    monkeypatch.chdir(tmp_path)
    files.write_json(layout.run_record("finetune", "smolvlm_500m"), record(61.4, 900))
    cli.main(["report", "--cost"])
    assert "| smolvlm_500m | n/a | 61 | n/a | n/a | 900 | 0." in capsys.readouterr().out
    with pytest.raises(SystemExit):
        cli.main(["report", "--cost", "--readme", "README.md"])


def test_nothing_ran_here() -> None:
    assert "Ran on: nothing yet." in cost.page(METRICS, {})
