"""Images of one article are told apart from images that only look alike."""

from pathlib import Path

import pytest

from radcap import settings
from radcap.data import articles
from radcap.data.prepare import prepare
from radcap.errors import UserError
from tests.conftest import ROOT

ROCOV2 = "ID,PMCID,Attribution,Link\nA,PMC1,CC BY,x\nB, PMC1 ,CC BY,x\nC,,CC BY,x\n"


@pytest.mark.parametrize(
    ("text", "known"),
    [
        (None, {}),
        (ROCOV2, {"A": "PMC1", "B": "PMC1"}),
        ("\ufeff" + ROCOV2, {"A": "PMC1", "B": "PMC1"}),
        ("ID,licence\nA,CC BY\n", {}),
        ("", {}),
        ("ID,PMCID\nA\n", {}),
    ],
    ids=["no file", "rocov2", "byte order mark", "no article", "empty", "short row"],
)
def test_articles_of_a_folder(tmp_path: Path, text: str | None, known: dict[str, str]) -> None:
    if text is not None:
        (tmp_path / articles.SOURCE).write_text(text, encoding="utf-8")
    assert articles.read_source(tmp_path) == known


def test_a_file_that_is_no_text_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / articles.SOURCE).write_bytes(b"ID,PMCID\n\xff,1\n")
    with pytest.raises(UserError, match=r"license_information.csv is not UTF-8 \(byte 9\)$"):
        articles.read_source(tmp_path)


def test_what_is_written_is_read_in_the_order_of_the_images(tmp_path: Path) -> None:
    path = tmp_path / "articles.csv"
    articles.write(path, {"A": "PMC1", "B": "PMC,2"})
    assert articles.read(path, ["B", "X", "A"]) == ["PMC,2", None, "PMC1"]
    assert articles.read(path, ["X", "Y"]) is None
    with pytest.raises(UserError, match="`dvc repro prepare` makes it"):
        articles.read(tmp_path / "none.csv", ["A"])


def test_prepare_keeps_them(rocov2, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = rocov2({"test": [("A", "CT of the chest."), ("B", "MRI of the brain.")]})
    (root / articles.SOURCE).write_text(ROCOV2, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    data = settings.load(ROOT).profiles["sample"].data
    given = data.model_copy(update={"source": "folder", "path": str(root), "pictures": 0, "diagrams": 0})
    assert prepare(given, seed=1)["images_with_article"] == 2
    assert articles.read(Path("data/articles.csv"), ["A", "B"]) == ["PMC1", "PMC1"]
