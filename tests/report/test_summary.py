"""Statistics, relations, plots and the summary of made-up results."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import scipy.stats

from radcap import files, layout
from radcap.report import plots, readme, scores, write
from radcap.report.statistics import significance
from radcap.report.tables import comparison, correlations
from radcap.report.tables import inputs as study_inputs
from radcap.report.tables.correlations import binned, by_group, correlate
from tests.report import made


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: Path) -> Path:
    """A workspace with the project's reference figures."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reference").symlink_to(root / "reference")
    return tmp_path


def found(params=None, **options) -> significance.Findings:
    params = params or made.settings()
    read = scores.read({key: layout.scores(key) for key in params.models}, made.PROTOCOL)
    return significance.analyse(read, params.report, seed=1, **options)


def test_models_prompts_and_controls_are_families_of_their_own(here: Path) -> None:
    made.workspace(made.settings())
    families = found().families
    pairs = {name: [(d.first, d.second) for d in rows[:: len(comparison.COLUMNS)]] for name, rows in families.items()}
    assert len(pairs["models"]) == 6
    assert pairs["prompts"] == [(f"{key} modality", f"{key} plain") for key in ("smolvlm_500m", "qwen2_vl_2b")]
    assert pairs["against base"] == [(f"{key} plain", f"{key} base") for key in made.KEYS]
    assert pairs["against shuffled"] == [(f"{key} plain", f"{key} shuffled") for key in made.KEYS]


def test_what_was_made_better_is_found_better(here: Path) -> None:
    made.workspace(made.settings())
    sure = found()
    assert all(sure.significant(d) and d.difference < 0 for d in sure.of("models", "overall"))
    assert sure.letters("overall") == {"llava_1_5_7b": "a", "qwen2_vl_2b": "b", "smolvlm_500m": "c", "vision_gpt2": "d"}
    assert all(sure.significant(d) and d.difference > 0.1 for d in sure.of("against shuffled", "overall"))
    told = significance.as_json(sure)
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    assert (told["captions"], told["clusters"], told["resamples"]) == (24, 24, 300)


def test_captions_of_an_article_are_resampled_together(here: Path) -> None:
    made.workspace(made.settings())
    clusters = [f"PMC{n // 4}" for n in range(24)]
    sure = found(clusters=clusters)
    assert sure.clusters == 6
    # All 64 sign patterns of six articles are tried: no p is below 2 / 64, and none passes Holm's 6 tests.
    assert min(d.p for d in sure.families["models"]) == 2 / 64
    assert sure.letters("overall") == dict.fromkeys(("llava_1_5_7b", "qwen2_vl_2b", "smolvlm_500m", "vision_gpt2"), "a")


def test_rank_correlations_are_the_studys_and_scipys(here: Path, root: Path) -> None:
    params = made.settings()
    made.workspace(params)
    given = made.inputs(params, root)
    rows = {(r["over"], r["cause"], r["quality"]): r for r in correlations.correlations(given)}
    causes = [given.audits[key]["percent"] for key in given.models]
    quality = [given.metrics[key]["overall"] for key in given.models]
    told = rows["all models", "percent", "overall"]["measured"]
    assert told["rho"] == round(scipy.stats.spearmanr(causes, quality).statistic, 4)
    assert told["tau"] == round(scipy.stats.kendalltau(causes, quality).statistic, 4)
    everything = study_inputs.Inputs(
        made.PARAMS,
        {key: {"overall": None} for key in made.PARAMS.models},
        {key: {"percent": 1, "trained": 1, "total": 1} for key in made.PARAMS.models},
        {"models": {key: {"total": 1} for key in made.PARAMS.models}},
        {},
        {},
        given.study,
    )
    rows = {(r["over"], r["cause"], r["quality"]): r for r in correlations.correlations(everything)}
    printed = rows["LoRA models", "percent", "overall"]["published"]
    # The study's Section 4 on its eight LoRA rows.
    assert (printed["n"], printed["rho"], printed["rho_p"]) == (8, -0.6667, 0.071)
    assert rows["LoRA models", "percent", "overall"]["measured"]["rho"] is None


def test_no_correlation_of_two_models_or_of_a_constant() -> None:
    none = dict.fromkeys(("rho", "rho_p", "tau", "tau_p"))
    assert correlate([(1, 2), (2, 3)]) == {"n": 2, **none}
    assert correlate([(1, 2), (1, 3), (1, 4)]) == {"n": 3, **none}
    assert correlate([(1, 2), (2, None), (3, 4), (4, 7)])["rho"] == 1.0


@pytest.mark.parametrize(
    ("ends", "labels", "of"),
    [
        ((11, 17), ["0-11", "12-17", "18+"], ["0-11", "0-11", "12-17", "12-17", "18+"]),
        ((0, 11), ["0", "1-11", "12+"], ["0", "1-11", "12+", "12+", "12+"]),
        ((), ["0+"], ["0+"] * 5),
    ],
)
def test_bins_hold_their_upper_ends(ends, labels, of) -> None:
    assert binned([0, 11, 12, 17, 18], ends) == (of, labels)


def test_means_by_group_tell_empty_groups(here: Path) -> None:
    made.workspace(made.settings())
    read = scores.read({"smolvlm_500m": layout.scores("smolvlm_500m")}, made.PROTOCOL)
    rows = by_group(read, ["a", "b"] * 12, ["a", "b", "c"])
    assert [(row["group"], row["n"]) for row in rows] == [("a", 12), ("b", 12), ("c", 0)]
    expected = read.column("smolvlm_500m", "overall")[::2].mean()
    assert rows[0]["models"]["smolvlm_500m"]["overall"] == round(float(expected), 4)
    assert rows[2]["models"]["smolvlm_500m"]["overall"] is None


def report(here: Path, root: Path, **options) -> str:
    params = made.settings(**options.pop("settings", {}))
    made.workspace(params, **options)
    write.write(made.inputs(params, root), made.TEST)
    return (here / "reports/summary.md").read_text()


def test_the_summary_tells_what_ran_what_differs_and_its_first_table_is_the_readmes(here: Path, root: Path) -> None:
    text = report(here, root)
    for told in (
        "profile sample, models: 4, LoRA strategy published, seed 42",
        "images: train 24, valid 24, test 24; refused rows: 3",
        # Plain and told captions: one of each is cut.
        "Of 144 generated captions, 0 are empty and 6 were cut at the token limit.",
        "**Protocol**: as-described (BERTScore recall",
        "| Overall | 6 of 6 |",
        "the right modality for 87.5 % of 16 test images (macro F1 0.800). Images without a label, left out: 8.",
        "| smolvlm_500m | modality | Overall | +0.0",
        "| shuffled | vision_gpt2 |",
        "reference/published.yaml: 81 figures recomputed, 4 off by more than rounding",
        "printed smolvlm_500m 0.200 above qwen2_5_vl_3b 0.188; by formula 0.18625 below 0.18825",
        comparison.NOTE,
    ):
        assert told in text, told
    table = readme.table_of(text)
    assert table.splitlines()[0].endswith("| Overall | Overall 95 % CI | Group | n |")
    assert len(table.splitlines()) == 2 + len(made.KEYS)


def test_without_a_metric_the_report_shows_what_is_left(here: Path, root: Path) -> None:
    text = report(here, root, missing=["umls_f1"])
    assert "UMLS F1 was not scored: no checkpoint." in text
    assert "Relevance 95 % CI" in readme.table_of(text)
    assert "| Overall |" not in text
    assert "without all their components" not in text
    assert files.read_json(here / "reports/audit.json")[1]["checked"] > 0


def test_every_file_of_the_report_repeats_byte_for_byte(here: Path, root: Path) -> None:
    def bytes_of() -> dict[str, bytes]:
        places = [*(here / "reports").rglob("*"), *(here / "plots").rglob("*")]
        return {str(path.relative_to(here)): path.read_bytes() for path in places if path.is_file()}

    report(here, root)
    first = bytes_of()
    report(here, root)
    assert bytes_of() == first
    expected = {f"plots/{name}.csv" for name in plots.DRAWINGS if name != "confusion"}
    expected |= {f"reports/plots/{name}.{kind}" for name in plots.DRAWINGS for kind in ("svg", "png")}
    expected |= {f"reports/{name}" for name in ("summary.md", "audit.md", "audit.json", "relations.md")}
    assert expected | {"reports/relations.json", "reports/statistics.json", "reports/tables/table7.tex"} <= first.keys()


def test_plots_hold_what_the_tables_hold(here: Path, root: Path) -> None:
    report(here, root)
    overall = (here / "plots/overall.csv").read_text().splitlines()
    value = files.read_json(layout.metrics("llava_1_5_7b"))["overall"]
    assert overall[:2] == ["model,figure,quality", f"llava_1_5_7b,overall,{value}"]
    assert (here / "plots/loss.csv").read_text().splitlines()[:3] == [
        "model,step,epoch,loss",
        "llava_1_5_7b,1.0,0.5,2.0",
        "llava_1_5_7b,2.0,1.0,1.5",
    ]
    rows = (here / "plots/complexity.csv").read_text().splitlines()
    # Four bins of words and of concepts, four models.
    assert len(rows) == 1 + 2 * 4 * 4
    svg = (here / "reports/plots/overall.svg").read_text()
    assert svg.startswith("<?xml")
    assert "<dc:date>" not in svg


def test_without_a_classifier_there_is_no_matrix_and_the_reason_is_told(here: Path, root: Path) -> None:
    params = made.settings()
    made.workspace(params)
    (here / "plots/modality.csv").write_text("actual,predicted\n")
    given = dataclasses.replace(made.inputs(params, root), classifier={"missing": "x not found"})
    write.write(given, made.TEST)
    assert "No modality was predicted: x not found.\n" in (here / "reports/summary.md").read_text()
    assert not (here / "reports/plots/confusion.svg").exists()


def test_our_own_table_5_is_audited(here: Path, root: Path) -> None:
    report(here, root)
    ours = files.read_json(here / "reports/audit.json")[1]
    assert ours["findings"] == []
    # Three means of each model, its controls, and the two that were told; nine changes of each of these.
    assert ours["checked"] == 3 * (4 * 3 + 2) + 2 * 9
    table = here / "reports/tables/table5.json"
    told = files.read_json(table)
    told["rows"][2]["rouge1"]["measured"] += 1
    files.write_json(table, told)
    from radcap.report.audit import check, workspace_tables

    wrong = check.audit(workspace_tables.figures(made.settings()))
    assert [(f.row, f.figure) for f in wrong.findings] == [("qwen2_vl_2b change", "rouge1")]


def test_scores_of_other_images_are_one_clear_line(here: Path) -> None:
    params = made.settings()
    made.workspace(params)
    import pyarrow.parquet as pq

    path = layout.scores("smolvlm_500m") / "plain.parquet"
    pq.write_table(pq.read_table(path).slice(1), path)
    with pytest.raises(ValueError, match=r"scores of smolvlm_500m \(plain\): ids differ"):
        scores.read({key: layout.scores(key) for key in params.models}, made.PROTOCOL)
    with pytest.raises(ValueError, match=r"scores/nothing/plain.parquet not found; `dvc repro score@nothing` makes it"):
        scores.read({"nothing": layout.scores("nothing")}, made.PROTOCOL)
    assert np.isfinite(made.values("smolvlm_500m", "plain")["rouge1"]).all()
