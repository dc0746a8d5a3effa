"""The stage as DVC runs it, on tiny pictures, phantoms and real images."""

import csv
import json
import runpy
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from dvc.utils.serialize import modify_yaml

from radcap import files, layout
from radcap.data.prepare import prepare
from radcap.errors import UserError
from radcap.modality.classes import CLASSES
from radcap.modality.predict import open_classifier, probabilities
from radcap.modality.predictions import read_predictions
from tests.conftest import copy_settings
from tests.modality.cases import CUIS, published_layout, write_split
from tests.models_for_tests import PARAMS, ROOT

OUTS = ("models", "modality", "plots")
SMALL = {"image_size": 24, "embedding": 8, "widths": [16, 32], "depths": [1, 1]}


@pytest.fixture(autouse=True)
def _workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)


def run(**changes: Any) -> dict[str, Any]:
    """Change settings ({"file:a/b": value}, params.yaml where none is named), run the stage, and return its metrics."""
    shutil.rmtree("configs", ignore_errors=True)
    copy_settings(Path())
    for place, value in changes.items():
        name, _, path = place.rpartition(":")
        *parents, last = path.split("/")
        with modify_yaml(name or "params.yaml") as tree:
            section = tree
            for part in parents:
                section = section[part]
            section[last] = value
    runpy.run_path(str(ROOT / "stages/modality.py"), run_name="__main__")
    return json.loads(
        (layout.MODALITY / layout.STAGE_METRICS).read_text(), parse_constant=lambda name: pytest.fail(name)
    )


def run_small(**changes: Any) -> dict[str, Any]:
    own = {"profiles/sample/modality/epochs": 4, "profiles/sample/modality/batch_size": 8}
    return run(**{f"configs/modality.yaml:miniature/{name}": value for name, value in SMALL.items()}, **own, **changes)


def write_splits(*, cuis: tuple[tuple[str, ...], ...] = CUIS, test: tuple[tuple[str, ...], ...] = CUIS) -> None:
    write_split(layout.split("train"), 30, cuis=cuis)
    write_split(layout.split("valid"), 7, start=100, cuis=cuis)
    write_split(layout.split("test"), 11, start=200, cuis=test)


def outputs() -> dict[str, bytes]:
    return {str(path): path.read_bytes() for name in OUTS for path in sorted(Path(name).rglob("*")) if path.is_file()}


def confusion() -> Counter[tuple[str, str]]:
    with layout.confusion_plot().open(encoding="utf-8", newline="") as stream:
        header, *rows = csv.reader(stream)
    assert header == ["actual", "predicted"]
    return Counter((actual, predicted) for actual, predicted in rows)


def assert_figures_add_up(report: dict[str, Any]) -> None:
    """Figures, tables and confusion matrix tell the same story."""
    for split in ("valid", "test"):
        table = pq.read_table(layout.predicted_modalities(split)).to_pydict()
        found = report[split]
        assert list(table) == ["id", "label", "predicted", "probability", *(f"p/{name}" for name in CLASSES)]
        assert found["n"] == sum(row["n"] for row in found["classes"].values())
        assert found["n"] + sum(found["left_out"].values()) == len(table["id"])
        right = [a == b for a, b in zip(table["label"], table["predicted"], strict=True) if a]
        assert found["accuracy"] == round(sum(right) / len(right), 4)
        for name, row in found["classes"].items():
            assert row["n"] == table["label"].count(name)
        for row in range(len(table["id"])):
            shares = [table[f"p/{name}"][row] for name in CLASSES]
            assert table["probability"][row] == max(shares)
            assert table["predicted"][row] == CLASSES[shares.index(max(shares))]
    pairs = confusion()
    assert pairs.total() == report["test"]["n"]
    assert sum(n for (a, b), n in pairs.items() if a == b) == round(report["test"]["accuracy"] * report["test"]["n"])


def test_the_stage_runs_and_repeats() -> None:
    write_splits()
    report = run_small()
    assert_figures_add_up(report)
    assert report["train"] == {
        "n": 30,
        "classes": dict.fromkeys(CLASSES, 0) | {"ct": 10, "x-ray": 10, "mri": 10},
        "left_out": {"none": 0, "several": 0},
    }
    assert report["test"]["accuracy"] == 1.0
    first = outputs()
    assert set(first) == {
        *(f"models/modality/{name}" for name in ("base.json", "config.json", "log.csv", "model.safetensors", "preprocessor_config.json")),
        "modality/valid.parquet", "modality/test.parquet", "models/modality/metrics.json", "plots/modality.csv",
    }  # fmt: skip
    run_small()
    assert outputs() == first
    run_small(seed=7)
    assert outputs()["models/modality/model.safetensors"] != first["models/modality/model.safetensors"]


def test_published_weights_are_fine_tuned_as_at_full_size(tmp_path: Path) -> None:
    """With the loader's workers, nothing cached, and bfloat16 asked for, which a CPU leaves aside."""
    write_splits()
    checkpoint = published_layout(tmp_path / "resnet")
    loader = {"profiles/sample/loader/workers": 1, "profiles/sample/loader/cache": False}
    own = {"profiles/sample/weights": "published", "profiles/sample/dtype": "bfloat16"}
    report = run_small(**{"configs/modality.yaml:checkpoint": str(checkpoint)}, **loader, **own)
    assert_figures_add_up(report)
    record = files.read_json(layout.MODALITY / "base.json")
    assert (record["weights"], record["files"]) == ("published", files.folder_hashes(checkpoint))
    assert open_classifier().model.config.depths == [1, 2]


def test_what_lies_in_the_folder_predicts_what_stands_in_the_tables() -> None:
    from radcap.data import store

    write_splits()
    run_small()
    images = list(store.read(layout.split("test"))["image"])
    found = probabilities(open_classifier(), images, batch_size=8)
    table = pq.read_table(layout.predicted_modalities("test")).to_pydict()
    assert found.tolist() == [list(row) for row in zip(*(table[f"p/{name}"] for name in CLASSES), strict=True)]
    assert read_predictions(layout.predicted_modalities("test")) == {
        id_: guess for id_, *guess in zip(table["id"], table["predicted"], table["probability"], strict=True) for guess in [tuple(guess)]
    }  # fmt: skip


def test_rows_left_out_are_predicted_all_the_same() -> None:
    """The third kind names no modality in train and valid, and two in test."""
    write_splits(cuis=(*CUIS[:2], ()), test=(*CUIS[:2], CUIS[0] + CUIS[1]))
    report = run_small(**{"modality/none": "drop"})
    assert_figures_add_up(report)
    assert report["train"]["left_out"] == {"none": 10, "several": 0}
    assert report["train"]["n"] == 20
    # Rows 100 to 106 and 200 to 210: every third is of the third kind.
    assert report["valid"]["left_out"] == {"none": 2, "several": 0}
    assert report["test"]["left_out"] == {"none": 0, "several": 4}
    table = pq.read_table(layout.predicted_modalities("test")).to_pydict()
    assert table["label"].count(None) == 4
    assert None not in table["predicted"]


def test_a_test_split_without_concepts_has_predictions_and_no_figures() -> None:
    write_splits(test=((), (), ()))
    report = run_small(**{"modality/none": "drop"})
    assert (report["test"]["accuracy"], report["test"]["macro_f1"], report["test"]["n"]) == (None, None, 0)
    assert report["test"]["left_out"] == {"none": 11, "several": 0}
    assert report["valid"]["accuracy"] == 1.0
    assert not confusion()
    assert all(name in CLASSES for name, _ in read_predictions(layout.predicted_modalities("test")).values())


@pytest.mark.parametrize(
    ("cuis", "rule", "named"),
    [(((), (), ()), "other", "only the class other"), (((), (), ()), "drop", "no class"), (CUIS[:1] * 3, "other", "only the class ct")],
    ids=["no concepts", "no concepts, dropped", "one class"],
)  # fmt: skip
def test_nothing_to_learn_from_does_not_end_the_pipeline(cuis: Any, rule: str, named: str, capsys: Any) -> None:
    write_splits(cuis=cuis, test=CUIS)
    reason = f"the concepts of the train split name {named}; a classifier needs two"
    assert run_small(**{"modality/none": rule}) == {"missing": reason}
    assert f"modality: {reason}; nothing is trained, and nothing predicted" in capsys.readouterr().out
    assert files.read_json(layout.MODALITY / "base.json") == {"family": "resnet", "missing": reason}
    assert layout.confusion_plot().read_text() == "actual,predicted\n"
    for split, rows in (("valid", 7), ("test", 11)):
        assert list(read_predictions(layout.predicted_modalities(split)).values()) == [(None, None)] * rows
    table = pq.read_table(layout.predicted_modalities("test"))
    assert str(table.schema.field("p/ct").type) == "double"
    assert table.column("p/ct").null_count == 11
    assert table.column("label").to_pylist() == (["ct", "x-ray", "mri"] * 5)[2:13]
    with pytest.raises(UserError, match="holds no modality classifier: the concepts"):
        open_classifier()


def test_a_table_that_is_not_there_is_one_line() -> None:
    with pytest.raises(UserError, match=r"^modality/test.parquet not found; `dvc repro modality` makes it$"):
        read_predictions(layout.predicted_modalities("test"))


def draw(seed: int, **changes: Any) -> None:
    data = PARAMS.profiles["sample"].data
    prepare(data.model_copy(update={"pictures": 0, "diagrams": 0, **changes}), seed=seed)


def test_real_images_run_through(real_data: Path) -> None:
    draw(42, source="folder", path=str(real_data / "radiology"))
    report = run()
    assert_figures_add_up(report)
    assert {split: report[split]["n"] for split in layout.SPLITS} == {"train": 176, "valid": 37, "test": 36}
    commonest = max(row["n"] for row in report["test"]["classes"].values()) / report["test"]["n"]
    assert report["test"]["accuracy"] > commonest


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_the_sample_s_settings_learn_the_phantoms_modalities(seed: int) -> None:
    draw(seed)
    report = run(seed=seed)
    assert_figures_add_up(report)
    assert report["test"]["accuracy"] >= 0.95
