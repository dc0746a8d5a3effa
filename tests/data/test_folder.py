"""The folder source: every row comes out as a row or with a reason; an unusable folder is one clear line."""

import csv
from pathlib import Path

import pytest

from radcap.data import folder, store
from radcap.errors import UserError
from tests.conftest import png


def test_every_bad_row_is_refused_with_its_reason(rocov2) -> None:
    rows = [
        ("good", " CT\u00a0of the chest. "),
        ("../evil", "x"),
        ("good", "again"),
        ("empty", "\u202f"),
        ("missing", "x"),
        ("cut", "x"),
        ("twice", "x"),
    ]
    root = rocov2({"train": rows})
    (root / "train" / "missing.png").unlink()
    (root / "train" / "cut.png").write_bytes(png()[:200])
    (root / "train" / "twice.jpg").write_bytes(png())
    with (root / "train_captions.csv").open("a") as stream:
        stream.write("three,cells,here\r\n\r\n")
    found = list(folder.read_rows(root, "train"))
    assert [(row.line, row.id, row.reason) for row in found if isinstance(row, folder.QuarantinedRow)] == [
        (3, "../evil", "id is no plain file name"),
        (4, "good", "duplicate id"),
        (5, "empty", "caption is empty"),
        (6, "missing", "image is missing"),
        (7, "cut", "image is truncated or damaged"),
        (8, "twice", "several image files"),
        (9, "three", "row has 3 cells instead of 2"),
        (10, "", "row has 0 cells instead of 2"),
    ]
    kept = [row for row in found if isinstance(row, store.Row)]
    assert [(row.id, row.caption, row.raw_caption, row.cuis) for row in kept] == [
        ("good", "CT of the chest.", " CT\u00a0of the chest. ", ("C0040405",))
    ]


def _no_header(root: Path) -> None:
    path = root / "train_captions.csv"
    path.write_text(path.read_text().split("\n", 1)[1])


def _latin1(root: Path) -> None:
    (root / "train_captions.csv").write_bytes(b"ID,Caption\na,caf\xe9\n")


def _open_quote(root: Path) -> None:
    (root / "train_captions.csv").write_text('ID,Caption\na,"never closed\n')


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_no_header, "first line is 'train_1,CT of the chest.'; it must be 'ID,Caption'"),
        (_latin1, "is not UTF-8 (byte"),
        (_open_quote, "unexpected end of data"),
        (lambda root: (root / "train_captions.csv").unlink(), "train_captions.csv not found"),
        (lambda root: (root / "train").rename(root / "elsewhere"), "no folder of images for train"),
        (lambda root: root.rename(root.with_name("gone")), "does not exist"),
    ],
    ids=["header", "encoding", "quotes", "captions file", "images", "folder"],
)
def test_an_unusable_folder_is_one_clear_line(rocov2, damage, message: str) -> None:
    root = rocov2({})
    damage(root)
    with pytest.raises(UserError) as caught:
        list(folder.read_rows(root, "train"))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_malformed_concepts_row_is_one_clear_line(rocov2) -> None:
    root = rocov2({})
    (root / "train_concepts.csv").write_text("ID,CUIs\ntrain_1,C1,C2\n")
    with pytest.raises(UserError, match=r"train_concepts.csv, line 2: row has 3 cells instead of 2$"):
        list(folder.read_rows(root, "train"))


@pytest.mark.parametrize("place", ["train_images", "train_images/train"])
def test_images_may_lie_as_the_archives_unpack(rocov2, place: str) -> None:
    root = rocov2({})
    target = root / place
    target.parent.mkdir(parents=True, exist_ok=True)
    (root / "train").rename(target)
    assert [row.id for row in folder.read_rows(root, "train")] == ["train_1", "train_2"]


def test_concepts_may_be_absent_or_empty(rocov2) -> None:
    root = rocov2({})
    (root / "train_concepts.csv").write_text("ID,CUIs\ntrain_1,\n")
    (root / "valid_concepts.csv").unlink()
    assert [row.cuis for split in ("train", "valid") for row in folder.read_rows(root, split)] == [()] * 4


def test_real_captions_survive(real_data: Path, tmp_path: Path) -> None:
    """The real ROCOv2 validation captions, each with a drawn picture: one row is empty after cleaning."""
    source = real_data / "rocov2_text" / "valid_captions.csv"
    with source.open(encoding="utf-8", newline="") as stream:
        ids = [row["ID"] for row in csv.DictReader(stream)]
    (tmp_path / "valid").mkdir()
    for name in ("valid_captions.csv", "valid_concepts.csv"):
        (tmp_path / name).write_bytes((source.parent / name).read_bytes())
    for id_ in ids:
        (tmp_path / "valid" / f"{id_}.png").write_bytes(png())
    found = list(folder.read_rows(tmp_path, "valid"))
    refused = [row for row in found if isinstance(row, folder.QuarantinedRow)]
    assert len(found) == len(ids) == 9904
    assert {row.reason for row in refused} <= {"caption is empty"}
    assert all(len(row.caption.splitlines()) == 1 for row in found if isinstance(row, store.Row))
