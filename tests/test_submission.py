"""Written submissions have no fault, each rule of ImageCLEF has its own message, and files are read for scoring."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radcap import cli, files, layout, submission
from radcap.caption import records
from radcap.data import store
from radcap.errors import UserError
from tests.conftest import copy_settings, png

IDS = ["a", "b", "c"]
GOOD = 'ID,Caption\n"a","CT, axial"\n"b","MRI"\n"c",""\n'
BREAKS = "\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"


def faults(path: Path, content: str | bytes, ids: Sequence[str] = IDS) -> list[str]:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return submission.check(path, ids)


def read_back(path: Path) -> list[list[str]]:
    return list(csv.reader(io.StringIO(path.read_bytes().decode("utf-8"), newline=""), strict=True))


@pytest.mark.parametrize(
    "content",
    [
        GOOD,
        GOOD.removesuffix("\n"),
        'ID,Caption\na,"CT, axial"\nb,MRI\nc,\n',
        'ID,Caption\na,5" nodule\nb,"5"" nodule, ""round"""\nc,"  "\n',
        'ID,Caption\na,"\u00b5m, \u5f71 \u200d\U0001f9b4 \x00\t\u00a0"\nb,\ufeffMRI\nc,\u202f\n',
    ],
    ids=["quoted", "no last line end", "quotes where needed", "quotes inside", "any other character"],
)
def test_no_fault(tmp_path: Path, content: str) -> None:
    assert faults(tmp_path / "s.csv", content) == []


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", ["3 of the ground truth's 3 ids missing, first 'a'", "line 1: the header is ''; it must be 'ID,Caption'"]),
        ("\ufeff" + GOOD, ["line 1: the file begins with a BOM; it must be UTF-8 without"]),
        (GOOD.replace("ID,", "id,"), ["line 1: the header is 'id,Caption'; it must be 'ID,Caption'"]),
        (GOOD.replace("ID,Caption", '"ID","Caption"'), ["line 1: the header is '\"ID\",\"Caption\"'; it must be 'ID,Caption'"]),
        (GOOD.removeprefix("ID,Caption\n"), ["line 1: the header is '\"a\",\"CT, axial\"'; it must be 'ID,Caption'"]),
        (GOOD.replace("\n", "\r\n"), ["line 1: line end \\r\\n, here and in 3 more lines; it must be \\n"]),
        (GOOD.replace("MRI", "caf\xe9").encode("latin-1"), ["line 3: not UTF-8 (byte 8 of the line is 0xe9)"]),
        (GOOD + "\n", ["line 5: blank line"]),
        (GOOD.replace('"b"', ' \n"b"'), ["line 3: blank line"]),
        (GOOD.replace('"b","MRI"', '"b"'), ["line 3: 1 cell instead of 2"]),
        (GOOD.replace('"CT, axial"', "CT, axial"), ["line 2: 3 cells instead of 2; a caption with a comma must be in double quotes"]),
        (GOOD.replace('"MRI"', '"MRI",'), ["line 3: 3 cells instead of 2; a caption with a comma must be in double quotes"]),
        (GOOD.replace('"MRI"', '"5" mass"'), ["line 3: not CSV (',' expected after '\"'); a double quote inside a quoted caption must be doubled"]),
        (GOOD.replace('"MRI"', '"MRI'), ["line 3: not CSV (unexpected end of data); a double quote inside a quoted caption must be doubled"]),
        (GOOD.replace('c",""', 'c","'), ["line 4: not CSV (unexpected end of data); a double quote inside a quoted caption must be doubled"]),
        (GOOD.replace("MRI", "MRI\n\nof, x\u2028y"), ["line 3: line break inside the row (U+000A, U+2028)"]),
        (GOOD.replace('"b"', '"x"'), ["1 of the ground truth's 3 ids missing, first 'b'", "line 3: id 'x' is not in the ground truth"]),
        (GOOD.replace('"b"', '"b "'), ["1 of the ground truth's 3 ids missing, first 'b'", "line 3: id 'b ' is not in the ground truth"]),
        (GOOD + '"a","again"\n', ["line 5: id 'a' is there twice, first in line 2"]),
        ('ID,Caption\n"b",""\n"a",""\n"c",""\n', ["line 3: id 'a' must stand before 'b', as in the ground truth"]),
        ('ID,Caption\n"c",""\n', ["2 of the ground truth's 3 ids missing, first 'a'"]),
        ('ID,Caption\n"c",x,y\n"c",\xbd\n\n'.encode("latin-1"), [
            "2 of the ground truth's 3 ids missing, first 'a'",
            "line 2: 3 cells instead of 2; a caption with a comma must be in double quotes",
            "line 3: not UTF-8 (byte 4 of the line is 0xbd)",
            "line 3: id 'c' is there twice, first in line 2",
            "line 4: blank line",
        ]),
    ],
)  # fmt: skip
def test_each_fault_has_its_line(tmp_path: Path, content: str | bytes, expected: list[str]) -> None:
    assert faults(tmp_path / "s.csv", content) == expected


@pytest.mark.parametrize("character", BREAKS)
def test_every_line_break_is_a_fault_and_becomes_a_blank(tmp_path: Path, character: str) -> None:
    assert len(f"x{character}y".splitlines()) == 2
    path = tmp_path / "s.csv"
    found = faults(path, f'ID,Caption\n"a","x{character}y"\n', ["a"])
    assert found == [f"line 2: line break inside the row (U+{ord(character):04X})"]
    assert submission.write(path, ["a"], [f"x{character}y"]) == 1
    assert read_back(path)[1] == ["a", "x y"]


def test_no_other_character_ends_a_line() -> None:
    assert [chr(code) for code in range(0x110000) if len(f"x{chr(code)}y".splitlines()) > 1] == sorted(BREAKS)


def test_what_the_writer_changes(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "s.csv"
    assert submission.write(path, IDS, ['CT, "left"\r\nlung', "half \ud83e\x85", ""]) == 2
    assert path.read_bytes() == b'ID,Caption\n"a","CT, ""left"" lung"\n"b","half ? "\n"c",""\n'
    assert [each.name for each in path.parent.iterdir()] == ["s.csv"]


def test_captions_that_do_not_match_the_ids_leave_no_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="zip"):
        submission.write(tmp_path / "s.csv", IDS, ["one"])
    assert list(tmp_path.iterdir()) == []


# Lone surrogates too, which st.text leaves out by default, and many characters at which a CSV file may break.
ANY_TEXT = st.text(
    st.one_of(st.characters(codec=None, exclude_categories=()), st.sampled_from(BREAKS + '",\ufeff\0 a'))
)


@given(st.lists(ANY_TEXT, max_size=6))
def test_what_is_written_has_no_fault_and_reads_back(
    tmp_path_factory: pytest.TempPathFactory, captions: list[str]
) -> None:
    path = tmp_path_factory.getbasetemp() / "property.csv"
    ids = [f"id_{number}" for number in range(len(captions))]
    changed = submission.write(path, ids, captions)
    cleaned = [submission.clean(caption) for caption in captions]
    assert submission.check(path, ids) == []
    assert read_back(path) == [["ID", "Caption"], *map(list, zip(ids, cleaned, strict=True))]
    assert len(path.read_bytes().decode("utf-8").splitlines()) == 1 + len(ids)
    assert changed == sum(map(str.__ne__, captions, cleaned))


@given(st.binary(max_size=60))
def test_any_file_is_checked(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.csv"
    for start in (b"", b"ID,Caption\n", b'ID,Caption\na,"'):
        assert all(len(fault.splitlines()) == 1 for fault in faults(path, start + content))


def test_real_captions(real_data: Path, tmp_path: Path) -> None:
    """Neither the file of the real ROCOv2 validation captions nor a submission written from them has a fault."""
    source = real_data / "rocov2_text" / "valid_captions.csv"
    if not source.exists():
        pytest.skip(f"no {source}")
    captions = submission.read_submission(source)
    ids, path = list(captions), tmp_path / "s.csv"
    assert submission.check(source, ids) == []
    assert submission.write(path, ids, list(captions.values())) == 0
    assert submission.check(path, ids) == []
    assert submission.read_submission(path) == captions
    assert submission.check(path, ids[1:] + ids[:1]) == [
        f"line 3: id {ids[1]!r} must stand before {ids[0]!r}, as in the ground truth"
    ]


@pytest.fixture
def workspace(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a test split of three rows, and a model's captions of them."""
    monkeypatch.chdir(tmp_path)
    copy_settings(tmp_path)
    about = {"image": png(), "caption": "x", "raw_caption": "x", "cuis": (), "width": 40, "height": 32, "sha256": ""}
    store.write(layout.split("test"), (store.Row(id=id_, **about) for id_ in IDS))
    write_captions(IDS)
    return tmp_path


def write_captions(ids: Sequence[str], *, variant: str = "plain") -> None:
    texts = [("CT,\u2028axial", "end"), ("", "end"), ("MRI of the", "length")]
    made = [
        records.Caption(id=id_, variant=variant, raw=text, caption=text, tokens=9, finish=end, logprob=-1.0)
        for id_, (text, end) in zip(ids, texts, strict=False)
    ]
    records.write_captions(layout.captions("moondream2") / f"{variant}.jsonl", made)


def ended(*command: str) -> int:
    with pytest.raises(SystemExit) as caught:
        cli.main(["submission", *command])
    assert isinstance(caught.value.code, int)
    return caught.value.code


def test_the_command_writes_and_checks(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["submission", "moondream2"])
    assert capsys.readouterr().out.splitlines() == [
        "moondream2: 3 captions (plain) in submissions/moondream2.csv",
        "changed by the rules: 1, empty: 1, cut at max_new_tokens: 1",
    ]
    written = Path("submissions/moondream2.csv")
    assert written.read_text() == 'ID,Caption\n"a","CT, axial"\n"b",""\n"c","MRI of the"\n'
    cli.main(["submission", "--check", str(written)])
    cli.main(["submission", "--check", str(written), "--references", str(written)])
    assert capsys.readouterr().out == f"{written}: 3 captions, no fault\n" * 2

    Path("short.csv").write_text("ID,Caption\na,x\nd,x\n")
    assert ended("--check", "short.csv", "--references", str(written)) == 1
    assert capsys.readouterr().out.splitlines() == [
        "short.csv: 2 faults",
        "2 of the ground truth's 3 ids missing, first 'b'",
        "line 3: id 'd' is not in the ground truth",
    ]


def test_many_faults_are_counted_and_the_first_are_shown(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("s.csv").write_text(GOOD + "\n" * 30)
    assert ended("--check", "s.csv") == 1
    printed = capsys.readouterr().out.splitlines()
    assert (len(printed), printed[0], printed[-2:]) == (
        22,
        "s.csv: 30 faults",
        ["line 24: blank line", "... and 10 more"],
    )


def test_a_variant_is_written_to_the_given_path(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_captions(IDS, variant="base")
    cli.main(["submission", "moondream2", "--variant", "base", "--out", "deep/base.csv"])
    assert "3 captions (base) in deep/base.csv" in capsys.readouterr().out
    assert [path.name for path in Path("deep").iterdir()] == ["base.csv"]


def test_rows_that_the_split_lacks_are_reported(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files.write_json(Path("data/report.json"), {"splits": {"test": {"quarantined": {"caption is empty": 2}}}})
    remark = "the test split lacks 2 of its source's rows, see data/quarantine.csv"
    cli.main(["submission", "moondream2"])
    assert capsys.readouterr().out.splitlines()[-1] == remark
    cli.main(["submission", "--check", "submissions/moondream2.csv"])
    assert capsys.readouterr().out.splitlines()[-1] == remark


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["nothing"], "nothing"),
        (["smolvlm_500m"], "captions/smolvlm_500m/plain.jsonl not found; run `dvc repro generate@smolvlm_500m`"),
        (["moondream2", "--variant", "x"], "captions/moondream2/x.jsonl not found; variants there: other, plain"),
        (
            ["moondream2", "--variant", "other"],
            "other.jsonl: ids differ from the test split's; run `dvc repro generate@moondream2`",
        ),
        (["moondream2", "--references", "r.csv"], "--references goes with --check, not with MODEL"),
        (["--check", "s.csv", "--out", "x.csv"], "--variant and --out go with MODEL, not with --check"),
        (["--check", "s.csv"], "s.csv cannot be read: No such file or directory"),
        (["--check", "s.csv", "--references", "r.csv"], "r.csv not found"),
        (["--check", "s.csv", "--references", "none.csv"], "none.csv holds no caption"),
    ],
)
def test_mistakes_are_one_line(
    workspace: Path, capsys: pytest.CaptureFixture[str], command: list[str], message: str
) -> None:
    write_captions(["b", "a", "c"], variant="other")
    Path("none.csv").write_text("ID,Caption\n")
    assert ended(*command) == 2
    output = capsys.readouterr().err
    assert output.startswith("radcap: error: ") and message in output and output.count("\n") == 1
    assert not Path("submissions").exists()


def test_without_a_split_the_command_fails(workspace: Path) -> None:
    layout.split("test").unlink()
    assert ended("moondream2") == ended("--check", "s.csv") == 2


@pytest.mark.parametrize("command", [[], ["moondream2", "--check", "s.csv"]], ids=["neither", "both"])
def test_one_of_model_and_check(capsys: pytest.CaptureFixture[str], command: list[str]) -> None:
    assert ended(*command) == 2
    assert "usage: radcap submission MODEL" in capsys.readouterr().err


def test_a_folder_cannot_be_checked(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read: Is a directory"):
        submission.check(tmp_path, IDS)


def write_csv(path: Path, rows: list[tuple[str, str]]) -> Path:
    path.write_text("\n".join(["ID,Caption", *(f'{id_},"{text}"' for id_, text in rows)]) + "\n", encoding="utf-8")
    return path


MISTAKES = [
    ([("a", "x")], [("a", "x"), ("b", "y")], "lacks 1 of the ids of .*, first 'b'"),
    ([("a", "x"), ("z", "y")], [("a", "x")], "has 1 ids that are not in .*, first 'z'"),
    ([("a", "x"), ("a", "y")], [("a", "x")], "line 3: id 'a' is there twice"),
    ([], [], "holds no caption"),
]


@pytest.mark.parametrize(("candidates", "references", "message"), MISTAKES)
def test_files_that_do_not_match_are_one_clear_line(
    tmp_path: Path, candidates: list[tuple[str, str]], references: list[tuple[str, str]], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        submission.read_scoring_inputs(
            write_csv(tmp_path / "c.csv", candidates), write_csv(tmp_path / "r.csv", references)
        )


def test_folders_without_images_are_one_clear_line(tmp_path: Path) -> None:
    rows = [("a", "x")]
    files_ = write_csv(tmp_path / "c.csv", rows), write_csv(tmp_path / "r.csv", rows)
    with pytest.raises(UserError, match="does not exist"):
        submission.read_scoring_inputs(*files_, tmp_path / "nowhere")
    with pytest.raises(UserError, match="has no image"):
        submission.read_scoring_inputs(*files_, tmp_path)
