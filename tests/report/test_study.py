"""The study's tables from made-up results: what they hold, beside what the study prints, in every form."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest

from radcap.metrics.protocols import METRICS
from radcap.report import scores
from radcap.report.published import COLUMNS
from radcap.report.tables import dataset_and_models, quality, render, write
from radcap.report.tables.examples import Texts, choose
from radcap.report.tables.inputs import GROUPS
from radcap.report.tables.table import Column, Figure, Line, Table
from tests.report import made


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def given(root: Path, *, profile: str = "sample"):
    params = made.settings(profile=profile)
    made.workspace(params)
    return made.inputs(params, root)


def texts() -> Texts:
    captions = {(key, "plain"): [f"{key} of {i}" for i in made.IDS] for key in made.KEYS}
    captions |= {(key, "modality"): [f"{key} told of {i}" for i in made.IDS] for key in made.PROMPTED}
    return Texts(made.TEST["raw_caption"], ["ct"] * len(made.IDS), captions)


def test_models_stand_in_the_studys_order_and_groups(here: Path, root: Path) -> None:
    table = quality.main(given(root))
    assert [(line.names[0], line.group) for line in table.lines] == [
        ("llava_1_5_7b", GROUPS[0]),
        ("qwen2_vl_2b", GROUPS[1]),
        ("smolvlm_500m", GROUPS[1]),
        ("vision_gpt2", GROUPS[2]),
    ]


def test_a_measured_figure_stands_beside_the_published_one(here: Path, root: Path) -> None:
    inputs = given(root, profile="rocov2")
    figure = quality.main(inputs).lines[0].figures["overall"]
    measured = inputs.metrics["llava_1_5_7b"]["overall"]
    assert figure == Figure(measured, 0.273, round(measured - 0.273, 4))
    assert inputs.comparable


def test_a_miniature_is_not_compared_and_says_so(here: Path, root: Path) -> None:
    inputs = given(root)
    found = scores.read({key: Path("scores") / key for key in inputs.metrics}, made.PROTOCOL)
    for table in write.tables(inputs, found, texts()):
        assert not table.comparable
        printed = [f for line in table.lines for name, f in line.figures.items() if name != "full_size"]
        assert all(figure.difference is None for figure in printed)
        marked = write.NOT_COMPARABLE in table.notes
        assert marked == any(figure.published is not None for figure in printed)
        assert ("study (not comparable)" in render.as_markdown(table)) == marked


def test_only_models_that_were_told_the_modality_have_rows(here: Path, root: Path) -> None:
    inputs = given(root, profile="rocov2")
    table = quality.prompting(inputs)
    assert [line.names for line in table.lines] == [
        (key, prompt) for key in ("qwen2_vl_2b", "smolvlm_500m") for prompt in ("plain", "modality", "change %")
    ]
    plain, told, change = (line.figures["rouge1"] for line in table.lines[3:])
    assert (plain.published, told.published, change.published) == (0.136, 0.144, 5.9)
    expected = round(100 * (told.measured - plain.measured) / plain.measured, 1)
    assert (change.measured, change.difference) == (expected, round(expected - 5.9, 1))


def test_without_a_told_model_table_5_is_empty_and_says_so(here: Path, root: Path) -> None:
    params = made.settings(keys=("vision_gpt2", "llava_1_5_7b"))
    made.workspace(params)
    table = quality.prompting(made.inputs(params, root))
    assert table.lines == ()
    assert "No model of this run was prompted with the modality." in render.as_markdown(table)
    assert json.loads(render.as_json(table))["rows"] == []


@pytest.mark.parametrize(
    ("base", "new", "change"),
    [
        (0.2, 0.25, 25.0),
        (0.232, 0.182, -21.6),
        (0.0, 0.1, None),
        (-0.1, 0.1, None),
        (None, 0.1, None),
        (0.1, None, None),
    ],
)
def test_a_percent_change_needs_a_positive_base(base, new, change) -> None:
    assert quality.change_percent(base, new) == change


def test_modalities_add_up_and_the_rest_is_told(here: Path, root: Path) -> None:
    table = dataset_and_models.modalities(given(root))
    counts = {line.names[0]: line.figures["images"].measured for line in table.lines}
    assert counts == {"ct": 18, "x-ray": 0, "mri": 18, "ultrasound": 18, "other": 18}
    assert [line.figures["images"].published for line in table.lines] == [40913, 31827, 18570, 17147, 8178]
    assert table.notes == ("other: none 18.",)


def test_sizes_and_adapters_come_of_the_audits(here: Path, root: Path) -> None:
    inputs = given(root, profile="rocov2")
    smol = next(line for line in dataset_and_models.models(inputs).lines if line.names == ("smolvlm_500m",))
    assert smol.figures["params"] == Figure(4500, 500e6, 4500 - 500e6)
    assert smol.figures["full_size"] == Figure(507_000_000, 500e6, 7e6)
    assert smol.figures["language"].measured == 3100
    assert smol.figures["study_encoder"].published == "SigLIP-base (0.15B)"
    row = next(line for line in dataset_and_models.adapters(inputs).lines if line.names == ("smolvlm_500m",))
    assert row.figures["trained"].measured == 400
    assert row.figures["percent"] == Figure(8.8889, 8.34, 0.5489)
    assert row.figures["targets"] == Figure("published", "all linear")


def test_examples_hold_every_models_captions_from_hard_to_easy(here: Path, root: Path) -> None:
    inputs = given(root)
    found = scores.read({key: Path("scores") / key for key in inputs.metrics}, made.PROTOCOL)
    tables = write.tables(inputs, found, texts())
    assert [table.name for table in tables] == [f"table{n}" for n in range(1, 8)]
    first, second = choose(found, 2)
    ease = np.mean([found.column(model, "overall") for model in found.models], axis=0)
    assert (ease < ease[first]).sum() == 6
    assert (ease < ease[second]).sum() == 18
    names = [line.names for line in tables[5].lines]
    assert names[0] == ("reference", "")
    assert names[1:] == [
        ("llava_1_5_7b", "plain"),
        *((key, prompt) for key in ("qwen2_vl_2b", "smolvlm_500m") for prompt in ("plain", "modality")),
        ("vision_gpt2", "plain"),
    ]
    assert tables[5].lines[1].figures["caption"].measured == f"llava_1_5_7b of {made.IDS[first]}"
    told = tables[5].lines[3].figures["overall"].measured
    assert told == round(found.column("qwen2_vl_2b", "overall", variant="modality")[first], 4)


def test_more_examples_than_images_are_all_images(here: Path) -> None:
    made.workspace(made.settings())
    found = scores.read({"smolvlm_500m": Path("scores/smolvlm_500m")}, made.PROTOCOL)
    assert sorted(choose(found, 99)) == list(range(len(made.IDS)))
    assert choose(found, 0) == []


def test_tables_are_written_in_four_forms_whose_bytes_repeat(here: Path, root: Path) -> None:
    inputs = given(root)
    found = scores.read({key: Path("scores") / key for key in inputs.metrics}, made.PROTOCOL)
    write.write(here / "one", write.tables(inputs, found, texts()))
    write.write(here / "two", write.tables(inputs, found, texts()))
    first, second = ({p.name: p.read_bytes() for p in (here / name).iterdir()} for name in ("one", "two"))
    assert first == second
    assert set(first) == {f"table{n}.{suffix}" for n in range(1, 8) for suffix in ("md", "csv", "tex", "json")}


TABLE = Table(
    name="t",
    title="A & B",
    heads={"model": "Model"},
    columns=(Column("x", "X"), Column("count", "Count", 0, ("measured",)), Column("text", "Text", None, ("measured",))),
    lines=(
        Line(("m_1",), {"x": Figure(0.5, 0.25, 0.25), "count": Figure(1234567), "text": Figure("50 % | a\nb\\c")}, "G"),
        Line(("m_2",), {"x": Figure(None, 0.1)}, "G"),
    ),
    comparable=True,
    notes=("Note.",),
)


def test_markdown() -> None:
    assert render.as_markdown(TABLE).splitlines() == [
        "# A & B",
        "",
        "| Model | X, measured | X, study | X, difference | Count | Text |",
        "| --- | ---: | ---: | ---: | ---: | --- |",
        "| **G** |  |  |  |  |  |",
        "| m_1 | 0.500 | 0.250 | +0.250 | 1,234,567 | 50 % \\| a b\\\\c |",
        "| m_2 |  | 0.100 |  |  |  |",
        "",
        "Note.",
    ]


def test_csv_holds_numbers_as_they_are() -> None:
    rows = list(csv.DictReader(io.StringIO(render.as_csv(TABLE))))
    assert rows[0] == {
        "group": "G",
        "model": "m_1",
        "x_measured": "0.5",
        "x_published": "0.25",
        "x_difference": "0.25",
        "count_measured": "1234567",
        "text_measured": "50 % | a\nb\\c",
    }
    assert rows[1]["x_measured"] == ""


def test_latex_is_booktabs_with_nothing_unescaped() -> None:
    text = render.as_latex(TABLE)
    assert "\\caption{A \\& B}" in text
    assert "\\begin{tabular}{lrrrrp{0.5\\textwidth}}" in text
    assert "\\multicolumn{6}{l}{\\textit{G}} \\\\" in text
    assert "m\\_1 & 0.500 & 0.250 & +0.250 & 1,234,567 & 50 \\% | a b\\textbackslash{}c \\\\" in text
    assert [text.count(rule) for rule in ("\\toprule", "\\midrule", "\\bottomrule")] == [1, 1, 1]
    assert text.count("\\begin") == text.count("\\end")


def test_json_holds_every_side() -> None:
    whole = json.loads(render.as_json(TABLE))
    assert whole["rows"][0]["x"] == {"measured": 0.5, "published": 0.25, "difference": 0.25}
    assert whole["rows"][1]["count"] == {"measured": None}
    assert (whole["comparable"], whole["columns"]["x"]) == (True, "X")


def test_scores_are_read_with_aggregates_whose_means_are_those_of_the_metrics(here: Path, root: Path) -> None:
    inputs = given(root)
    found = scores.read({key: Path("scores") / key for key in inputs.metrics}, made.PROTOCOL)
    assert found.columns == COLUMNS
    for (model, variant), rows in found.values.items():
        told = inputs.metrics[model] if variant == "plain" else inputs.metrics[model][variant]
        assert rows.mean(axis=0).round(4).tolist() == pytest.approx([told[name] for name in COLUMNS], abs=1e-4)


def test_a_metric_that_was_not_scored_is_no_column_nor_is_what_needs_it(here: Path) -> None:
    made.workspace(made.settings(), missing=["umls_f1"])
    found = scores.read({"smolvlm_500m": Path("scores/smolvlm_500m")}, made.PROTOCOL)
    assert found.columns == (*(m for m in METRICS if m != "umls_f1"), "relevance")
    # Without BLEURT relevance goes too, but not under the protocol that leaves it out.
    made.workspace(made.settings(), missing=["bleurt"])
    folder = {"smolvlm_500m": Path("scores/smolvlm_500m")}
    assert "relevance" not in scores.read(folder, made.PROTOCOL).columns
    assert "overall" in scores.read(folder, "imageclef-2025").columns
