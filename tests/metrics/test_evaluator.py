"""All scorers of a folder under all protocols, the shuffled baseline, and `radcap score` for captions of any origin."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from radcap import cli, files
from radcap.errors import UserError
from radcap.metrics.evaluator import Evaluator, shuffle_captions
from radcap.metrics.miniatures.medcat_pack import build_medcat_pack
from radcap.metrics.paths import RECORD
from radcap.metrics.protocols import METRICS, PROTOCOLS
from radcap.metrics.raw_scores import write_per_caption
from tests.conftest import png

GOLDEN = Path(__file__).parent / "golden"
CANDIDATES = ["A nodule in the left lung.", "", "CT of the chest", "3.5 mm stone\u2028here"]
REFERENCES = ["A nodule in the right lung.", "", "CT of the chest", ""]


@pytest.fixture
def scorers(tmp_path: Path) -> Path:
    """A record of the tiny reference checkpoints, without a MedCAT pack."""
    folder = tmp_path / "scorers"
    places = {name: str(GOLDEN / name) for name in ("bertscore", "bleurt", "alignscore")}
    record = {name: {"checkpoint": place} for name, place in places.items()}
    record["bertscore"]["layer"] = 3
    record["similarity"] = {"checkpoint": str(GOLDEN / "medimageinsight")}
    record["umls_f1"] = {"missing": "packs/umls.zip not found"}
    folder.mkdir()
    files.write_json(folder / RECORD, record)
    return folder


IMAGES = [png(0), png(1), png(2), None]


def test_available_metrics_are_scored_and_the_others_have_a_reason(scorers: Path) -> None:
    evaluator = Evaluator(scorers)
    assert evaluator.missing == {"umls_f1": "packs/umls.zip not found"}
    raw = evaluator.score(CANDIDATES, REFERENCES, IMAGES)
    scores = raw.scores("as-described")
    assert list(scores) == [name for name in METRICS if name != "umls_f1"]
    assert all(len(values) == 4 and all(v == v for v in values) for values in scores.values())
    # Two empty captions: the protocol's 1, but for BLEURT, whose model says what it says.
    assert {name: values[1] == 1.0 for name, values in scores.items()} == {name: name != "bleurt" for name in scores}
    assert scores["similarity"][3] == 0.0
    identity = evaluator.identity()
    assert identity["missing"] == evaluator.missing
    assert identity["packages"].keys() >= {"torch", "transformers", "sentencepiece"}
    assert identity["opened"]["alignscore"] == {"sentence_splitter": "fallback"}


def test_one_pass_serves_all_protocols_each_with_its_own_means(scorers: Path) -> None:
    raw = Evaluator(scorers).score(CANDIDATES, REFERENCES, IMAGES)
    record = raw.record()
    assert list(record["means"]) == list(PROTOCOLS)
    for name, found in record["means"].items():
        assert list(found) == [*METRICS, "relevance", "factuality", "overall", "n"]
        assert (found["umls_f1"], found["factuality"], found["overall"], found["n"]) == (None, None, None, 4)
        scores = raw.scores(name)
        assert found["rouge1"] == round(sum(scores["rouge1"]) / 4, 4)
        parts = [found[metric] for metric in PROTOCOLS[name].relevance]
        assert found["relevance"] == pytest.approx(sum(parts) / len(parts), abs=1e-4)
    described, official = (raw.scores(name) for name in ("as-described", "imageclef-2025"))
    assert described["bertscore"] != official["bertscore"]
    assert described["bleurt"] == official["bleurt"]
    assert record["images"] == {"missing": 1, "unreadable": 0}
    assert record["truncated"] == dict.fromkeys(["similarity", "bertscore", "bleurt", "alignscore"], 0)


def test_a_table_has_a_column_for_every_protocols_metric(scorers: Path, tmp_path: Path) -> None:
    raw = Evaluator(scorers).score(CANDIDATES, REFERENCES, IMAGES)
    write_per_caption(tmp_path / "a.parquet", raw.columns(list("abcd")))
    table = pq.read_table(tmp_path / "a.parquet")
    names = [f"{protocol}/{metric}" for protocol in PROTOCOLS for metric in METRICS]
    assert table.column_names == ["id", "candidate_tokens", "reference_tokens", *names]
    assert {str(table.schema.field(name).type) for name in names} == {"double"}
    rows = table.to_pydict()
    assert rows["candidate_tokens"] == [6, 0, 4, 4]
    assert rows["as-described/umls_f1"] == [None] * 4
    assert rows["imageclef-2026/rouge1"] == raw.scores("imageclef-2026")["rouge1"]


def test_concepts_of_both_lists_are_in_the_table(scorers: Path, tmp_path: Path) -> None:
    build_medcat_pack(scorers)
    record = files.read_json(scorers / RECORD) | {"umls_f1": {"checkpoint": "medcat.zip"}}
    files.write_json(scorers / RECORD, record)
    columns = (
        Evaluator(scorers, metrics=["umls_f1"], cache=tmp_path / "kept").score(CANDIDATES, REFERENCES).columns("abcd")
    )
    write_per_caption(tmp_path / "a.parquet", columns)
    rows = pq.read_table(tmp_path / "a.parquet").to_pydict()
    assert rows["candidate_cuis/official127"][2] == rows["reference_cuis/official127"][2] != []
    assert rows["candidate_cuis/medcon66"][1] == []
    nothing = {name: [[]] if "cuis" in name else values[:1] for name, values in columns.items()}
    write_per_caption(tmp_path / "b.parquet", nothing)
    assert pq.read_schema(tmp_path / "b.parquet") == pq.read_schema(tmp_path / "a.parquet")
    assert (rows["as-described/umls_f1"][2], rows["as-described/umls_f1"][3]) == (1.0, 0.0)


def test_without_images_similarity_is_not_scored(scorers: Path) -> None:
    evaluator = Evaluator(scorers, images=False)
    assert evaluator.missing["similarity"] == "no images given"
    assert "similarity" not in evaluator.score(["a"], ["b"]).scores("as-described")


ODD = {
    "empty": "",
    "white space": " \n\t",
    "long": "nodule " * 10_000,
    "one long word": "x" * 20_000,
    "separators": "a\u2028b\u2029c\x85d\x0be\x00f",
    "special names": "[CLS] <mask> <|endoftext|> [SEP] </w> <pad>",
    "half a pair": "mass \ud83e here",
    "right to left": "\u202eكتلة\u202c",
    "joined": "👩‍⚕️ e\u0301\u0302",
    "punctuation": "... --- !!!",
    "nan": "NaN",
}


def test_odd_captions_score_finitely_and_never_one_in_silence(scorers: Path) -> None:
    build_medcat_pack(scorers)
    record = files.read_json(scorers / RECORD) | {"umls_f1": {"checkpoint": "medcat.zip"}}
    files.write_json(scorers / RECORD, record)
    candidates, references = list(ODD.values()), ["CT of the chest with a nodule."] * len(ODD)
    evaluator = Evaluator(scorers)
    images = [png(3)] * len(ODD)
    for first, second in ((candidates, references), (references, candidates)):
        raw = evaluator.score(first, second, images)
        for protocol in PROTOCOLS:
            for name, values in raw.scores(protocol).items():
                assert all(value == value and abs(value) < 2.5 for value in values), name
                if name in ("rouge1", "umls_f1", "bertscore"):
                    assert all(value < 0.999 for value in values), name
    assert raw.truncated["bertscore"] >= 1


@pytest.mark.parametrize("wrong", [None, float("nan"), 3, b"bytes"])
def test_a_caption_that_is_no_text_is_one_clear_line(scorers: Path, wrong) -> None:
    evaluator = Evaluator(scorers, metrics=["rouge1"])
    with pytest.raises(UserError, match="^candidate 1 is .*, which is not a text$"):
        evaluator.score(["a", wrong], ["a", "b"])
    with pytest.raises(UserError, match="^reference 0 is .*, which is not a text$"):
        evaluator.score(["a", "b"], [wrong, "b"])


def write(path: Path, rows: list[tuple[str, str]], header: str = "ID,Caption") -> Path:
    path.write_text("\n".join([header, *(f'{id_},"{text}"' for id_, text in rows)]) + "\n", encoding="utf-8")
    return path


def test_the_command_scores_two_files_in_the_references_order(
    scorers: Path, tmp_path: Path, capsys, monkeypatch
) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "workspace"))
    ids = ["b", "a", "d", "c"]
    candidates = write(tmp_path / "c.csv", list(zip(ids, CANDIDATES, strict=True)))
    references = write(tmp_path / "r.csv", sorted(zip(ids, REFERENCES, strict=True)))
    (tmp_path / "images").mkdir()
    for number, id_ in enumerate(ids[:3]):
        (tmp_path / "images" / f"{id_}.png").write_bytes(png(number))
    options = ["--scorers", str(scorers), "--images", str(tmp_path / "images"), "--protocol", "imageclef-2025"]
    out = tmp_path / "scores.parquet"
    cli.main(["score", str(candidates), str(references), *options, "--json", "--per-caption", str(out)])
    found = json.loads(capsys.readouterr().out)
    assert (found["protocol"], found["n"], found["images"]["missing"]) == ("imageclef-2025", 4, 1)
    assert found["means"]["imageclef-2025"]["rouge1"] == found["rouge1"]
    table = pq.read_table(out).to_pydict()
    assert table["id"] == sorted(ids)
    by_id = dict(zip(table["id"], table["imageclef-2025/rouge1"], strict=True))
    assert by_id["d"] == 1.0
    assert by_id["b"] == pytest.approx(5 / 6)
    # The row without an image.
    assert table["imageclef-2025/similarity"][table["id"].index("c")] == 0.0

    cli.main(["score", str(candidates), str(references), "--scorers", str(scorers), "--metrics", "rouge1", "bleurt"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [*METRICS, "relevance", "factuality", "overall", "n"]
    assert lines[0].split()[1] == "n/a"


def test_nothing_to_score_is_one_clear_line(scorers: Path, tmp_path: Path, capsys) -> None:
    rows = [("a", "x")]
    files_ = [str(write(tmp_path / name, rows)) for name in ("c.csv", "r.csv")]
    with pytest.raises(SystemExit):
        cli.main(["score", *files_, "--scorers", str(scorers), "--metrics", "umls_f1", "similarity"])
    assert "umls_f1: packs/umls.zip not found; similarity: no images given" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("captions", "expected"),
    [(["a", "b", "c", "d"], ["c", "d", "a", "b"]), (["a", "b", "c"], ["b", "c", "a"]), ([], [])],
)
def test_captions_move_half_the_split(captions: list[str], expected: list[str]) -> None:
    assert shuffle_captions(captions) == expected


@given(st.integers(2, 99))
def test_none_keeps_its_own_and_none_is_lost(count: int) -> None:
    moved = shuffle_captions([str(index) for index in range(count)])
    assert all(int(caption) != index for index, caption in enumerate(moved))
    assert sorted(map(int, moved)) == list(range(count))
