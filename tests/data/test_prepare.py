"""prepare: rows in = rows out + quarantined, and nothing half-written."""

import csv
import json
from pathlib import Path

import pytest

from radcap import settings
from radcap.data import store
from radcap.data.prepare import prepare
from radcap.errors import UserError


@pytest.fixture
def data(root: Path) -> settings.Data:
    return settings.load(root).profiles["sample"].data


@pytest.fixture(autouse=True)
def _workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.delenv("DVC_ROOT", raising=False)


def quarantine() -> list[dict[str, str]]:
    with Path("data/quarantine.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_phantoms_add_up_and_repeat(data: settings.Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = data.model_copy(update={"train": 60, "valid": 20, "test": 50, "pictures": 5, "diagrams": 5})
    report = prepare(small, seed=1)
    for split, rows in (("train", 60), ("valid", 20), ("test", 50)):
        figures = report["splits"][split]
        refused = [row for row in quarantine() if row["split"] == split]
        assert figures["rows_in"] == rows
        assert figures["rows_in"] == figures["rows_out"] + len(refused)
        assert sum(figures["quarantined"].values()) == len(refused)
        assert len(store.read(Path(f"data/{split}.arrow"))) == figures["rows_out"]
    assert report["splits"]["train"]["quarantined"] == {"caption is empty": 1}
    assert json.loads(Path("data/report.json").read_text()) == report
    first = {path.name: path.read_bytes() for path in Path("data").iterdir()}
    (tmp_path / "again").mkdir()
    monkeypatch.chdir(tmp_path / "again")
    prepare(small, seed=1)
    assert {path.name: path.read_bytes() for path in Path("data").iterdir()} == first


def test_a_folder_is_read_row_by_row(data: settings.Data, rocov2) -> None:
    root = rocov2({"train": [("a", "CT of the chest."), ("b", " "), ("c", "MRI."), ("c", "MRI.")]})
    given = data.model_copy(update={"source": "folder", "path": str(root), "pictures": 0, "diagrams": 0})
    report = prepare(given, seed=1)
    assert report["splits"]["train"]["quarantined"] == {"caption is empty": 1, "duplicate id": 1}
    assert quarantine() == [
        {"split": "train", "line": "3", "id": "b", "reason": "caption is empty"},
        {"split": "train", "line": "5", "id": "c", "reason": "duplicate id"},
    ]
    rows = store.read(Path("data/train.arrow"))
    assert rows["id"] == ["a", "c"]
    assert rows[0]["image"] == (root / "train" / "a.png").read_bytes()


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_mistake_leaves_nothing_behind(data: settings.Data, rocov2, split: str) -> None:
    root = rocov2({split: [("a", " ")]})
    given = data.model_copy(update={"source": "folder", "path": str(root), "pictures": 0, "diagrams": 0})
    with pytest.raises(UserError, match=rf"no usable row in split {split} .*\(caption is empty\)"):
        prepare(given, seed=1)
    assert list(Path("data").iterdir()) == []
