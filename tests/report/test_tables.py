"""Tables hold what the metrics files hold; the README's is that of reports/summary.md."""

from pathlib import Path

import pytest

from radcap import cli, files
from radcap.errors import UserError
from radcap.report import readme, tables
from tests.models_for_tests import KEYS, PARAMS

RESULT = {
    "bertscore": 0.61234,
    "rouge1": 0.2,
    "umls_f1": 0.1,
    "relevance": None,
    "factuality": None,
    "overall": None,
    "n": 7,
}


def results() -> dict[str, dict]:
    control = {"base": RESULT | {"rouge1": 0.05}, "shuffled": RESULT | {"rouge1": 0.1}}
    return dict.fromkeys(KEYS, RESULT | control)


def test_comparison_has_a_row_per_model_and_no_empty_column() -> None:
    lines = tables.comparison(PARAMS, results()).splitlines()
    assert lines[0] == "| Model | Trained by | BERTScore | ROUGE-1 | UMLS F1 | n |"
    assert lines[4] == f"| llava_1_5_7b | {PARAMS.lora.strategy} | 0.612 | 0.200 | 0.100 | 7 |"
    assert lines[-1] == "| cnn_transformer | full | 0.612 | 0.200 | 0.100 | 7 |"
    assert len(lines) == 2 + len(KEYS)


def test_controls_stand_above_each_model() -> None:
    lines = tables.controls(results()).splitlines()
    assert lines[0] == "| Model | Captions | BERTScore | ROUGE-1 | UMLS F1 |"
    assert lines[2:5] == [
        "| llava_mistral_7b | base | 0.612 | 0.050 | 0.100 |",
        "| llava_mistral_7b | shuffled | 0.612 | 0.100 | 0.100 |",
        "| llava_mistral_7b | tuned | 0.612 | 0.200 | 0.100 |",
    ]
    assert len(lines) == 2 + 3 * len(KEYS)


def test_a_metric_without_scores_is_told_with_its_reason() -> None:
    told = tables.summary(
        PARAMS, {key: found | {"missing": {"bleurt": "x not found"}} for key, found in results().items()}
    )
    assert told.count("BLEURT was not scored: x not found.") == 1


def test_overall_is_one_row_a_model() -> None:
    kept = {name: RESULT[name] for name in RESULT if name != "n"}
    assert tables.overall(results()) == dict.fromkeys(KEYS, kept)


def test_a_model_without_metrics_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"metrics/llava_mistral_7b.json not found"):
        tables.collect(PARAMS)


def test_the_readmes_table_is_replaced_between_its_marks(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text(f"a\n{readme.MARKS[0]}\nold\n{readme.MARKS[1]}\nb\n")
    (tmp_path / "summary.md").write_text("text\n| x | y |\n| --- | --- |\n\nmore\n")
    assert readme.update(tmp_path / "README.md", tmp_path / "summary.md")
    expected = f"a\n{readme.MARKS[0]}\n| x | y |\n| --- | --- |\n{readme.MARKS[1]}\nb\n"
    assert (tmp_path / "README.md").read_text() == expected
    assert not readme.update(tmp_path / "README.md", tmp_path / "summary.md")


def test_the_committed_tables_agree(root: Path) -> None:
    """README, reports/summary.md, metrics/overall.json and metrics/<model>.json tell the same figures."""
    found = {key: files.read_json(root / f"metrics/{key}.json") for key in KEYS}
    table = tables.comparison(PARAMS, found)
    assert files.read_json(root / "metrics/overall.json") == tables.overall(found)
    assert table in (root / "reports/summary.md").read_text()
    assert table in (root / "README.md").read_text()


# By how much the committed results beat each control at least.
BASE = {"similarity": 0.2, "bertscore": 0.2, "rouge1": 0.05, "bleurt": 0.1, "umls_f1": 0.2, "alignscore": 0.3}
SHUFFLED = {"similarity": 0.15, "bertscore": 0.05, "rouge1": 0.003, "bleurt": 0.05, "umls_f1": 0.1, "alignscore": 0.04}


def beats(root: Path, key: str, control: str, margins: dict[str, float]) -> None:
    figures = files.read_json(root / f"metrics/{key}.json")
    for name, margin in margins.items():
        assert figures[name] > figures[control][name] + margin, name


@pytest.mark.parametrize("key", KEYS)
def test_a_fine_tuned_miniature_beats_its_base(root: Path, key: str) -> None:
    beats(root, key, "base", BASE)


@pytest.mark.parametrize("key", KEYS)
def test_its_captions_beat_those_of_other_images(root: Path, key: str) -> None:
    beats(root, key, "shuffled", SHUFFLED)


def test_the_command_tells_mistakes_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    for command in (["check"], ["report"], ["sheet", "test"]):
        with pytest.raises(SystemExit) as caught:
            cli.main(command)
        assert caught.value.code == 2
        errors = capsys.readouterr().err
        assert errors.startswith("radcap: error: ")
        assert errors.count("\n") == 1
