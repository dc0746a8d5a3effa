"""Tables hold what the metrics files hold; the README's is that of reports/summary.md."""

from pathlib import Path

import pytest

from radcap import cli, files
from radcap.errors import UserError
from radcap.report import readme
from radcap.report.tables import comparison
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
    return dict.fromkeys(KEYS, RESULT)


def test_comparison_has_a_row_per_model_and_no_empty_column() -> None:
    sure = comparison.Uncertainty("ROUGE-1 95 % CI", dict.fromkeys(KEYS, ("0.100 to 0.300", "ab")))
    lines = comparison.comparison(PARAMS, results(), sure).splitlines()
    assert lines[0] == "| Model | Trained by | BERTScore | ROUGE-1 | UMLS F1 | ROUGE-1 95 % CI | Group | n |"
    strategy = PARAMS.lora.strategy
    assert lines[4] == f"| llava_1_5_7b | {strategy} | 0.612 | 0.200 | 0.100 | 0.100 to 0.300 | ab | 7 |"
    assert lines[-1] == "| cnn_transformer | full | 0.612 | 0.200 | 0.100 | 0.100 to 0.300 | ab | 7 |"
    assert len(lines) == 2 + len(KEYS)


def test_a_metric_without_scores_is_told_with_its_reason() -> None:
    told = comparison.unscored(
        {key: found | {"missing": {"bleurt": "x not found"}} for key, found in results().items()}
    )
    assert told == ["BLEURT was not scored: x not found."]


def test_overall_is_one_row_a_model() -> None:
    kept = {name: RESULT[name] for name in RESULT if name != "n"}
    assert comparison.overall(results()) == dict.fromkeys(KEYS, kept)


def test_a_model_without_metrics_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"metrics/llava_mistral_7b.json not found"):
        comparison.collect(PARAMS)


def test_the_readmes_table_is_replaced_between_its_marks(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text(f"a\n{readme.MARKS[0]}\nold\n{readme.MARKS[1]}\nb\n")
    (tmp_path / "summary.md").write_text("text\n| x | y |\n| --- | --- |\n\nmore\n")
    assert readme.update(tmp_path / "README.md", tmp_path / "summary.md")
    expected = f"a\n{readme.MARKS[0]}\n| x | y |\n| --- | --- |\n{readme.MARKS[1]}\nb\n"
    assert (tmp_path / "README.md").read_text() == expected
    assert not readme.update(tmp_path / "README.md", tmp_path / "summary.md")


def test_the_committed_tables_agree(root: Path) -> None:
    """README, reports/summary.md, metrics/overall.json, metrics/<model>.json and reports/ tell the same figures."""
    found = {key: files.read_json(root / f"metrics/{key}.json") for key in KEYS}
    statistics = files.read_json(root / "reports/statistics.json")
    cells = {
        row["model"]: (f"{row['low']:.3f} to {row['high']:.3f}", statistics["letters"]["overall"][row["model"]])
        for row in statistics["estimates"]
        if (row["variant"], row["column"]) == ("plain", "overall")
    }
    table = comparison.comparison(PARAMS, found, comparison.Uncertainty("Overall 95 % CI", cells))
    overall = comparison.overall(found)
    assert files.read_json(root / "metrics/overall.json") == overall
    assert files.read_json(root / "metrics/summary.json") == {
        "aggregates": {key: {name: overall[key][name] for name in comparison.AGGREGATES} for key in KEYS},
        "metrics": {key: {name: overall[key][name] for name in comparison.METRICS} for key in KEYS},
    }
    assert table == readme.table_of((root / "reports/summary.md").read_text())
    assert table in (root / "README.md").read_text()
    rows = files.read_json(root / "reports/tables/table4.json")["rows"]
    assert {
        row["model"]: {name: row[name]["measured"] for name in comparison.COLUMNS} for row in rows
    } == comparison.overall(found)
    for row in statistics["estimates"]:
        told = found[row["model"]] if row["variant"] == "plain" else found[row["model"]][row["variant"]]
        assert row["mean"] == pytest.approx(told[row["column"]], abs=2e-4)


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
