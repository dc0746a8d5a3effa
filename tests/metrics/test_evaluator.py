"""All scorers of a folder under one protocol, and `radcap score` for anyone's captions."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from radcap import cli, files
from radcap.errors import UserError
from radcap.metrics.evaluator import Evaluator
from radcap.metrics.pairing import pair
from radcap.metrics.places import RECORD
from radcap.metrics.protocols import METRICS, PROTOCOLS, with_empty_rule
from radcap.metrics.results import means
from tests.conftest import png

GOLDEN = Path(__file__).parent / "golden"
CANDIDATES = ["A nodule in the left lung.", "", "CT of the chest", "3.5 mm stone\u2028here"]
REFERENCES = ["A nodule in the right lung.", "", "CT of the chest", ""]


@pytest.fixture
def scorers(tmp_path: Path) -> Path:
    """The tiny reference checkpoints side by side; no MedCAT pack."""
    folder = tmp_path / "scorers"
    places = {name: str(GOLDEN / name) for name in ("bertscore", "bleurt", "alignscore")}
    record = {name: {"checkpoint": place} for name, place in places.items()}
    record["bertscore"]["layer"] = 3
    record["similarity"] = {"checkpoint": str(GOLDEN / "medimageinsight")}
    record["umls_f1"] = {"missing": "packs/umls.zip not found"}
    folder.mkdir()
    files.write_json(folder / RECORD, record)
    return folder


def test_every_metric_there_is_scored_and_the_others_say_why(scorers: Path) -> None:
    evaluator = Evaluator(scorers)
    assert evaluator.missing == {"umls_f1": "packs/umls.zip not found"}
    images = [png(i) for i in range(4)]
    scores = evaluator.score(CANDIDATES, REFERENCES, PROTOCOLS["as-described"], images=images)
    assert list(scores) == [name for name in METRICS if name != "umls_f1"]
    assert all(len(values) == 4 and all(v == v for v in values) for values in scores.values())
    # Two empty captions: the protocol's 1, but for BLEURT, whose model says what it says.
    assert {name: values[1] == 1.0 for name, values in scores.items()} == {name: name != "bleurt" for name in scores}
    found = means(scores, PROTOCOLS["as-described"])
    assert list(found) == [*METRICS, "relevance", "factuality", "overall", "n"]
    assert (found["umls_f1"], found["factuality"], found["overall"], found["n"]) == (None, None, None, 4)
    assert found["relevance"] is not None
    identity = evaluator.identity()
    assert identity["missing"] == evaluator.missing
    assert identity["packages"].keys() >= {"torch", "transformers", "sentencepiece"}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_similarity_is_scaled_and_ruled_by_the_protocol(scorers: Path, protocol: str) -> None:
    evaluator = Evaluator(scorers, metrics=["similarity"])
    cosine = Evaluator(scorers, metrics=["similarity"]).score(
        ["a stone", ""], ["x", "x"], PROTOCOLS["as-described"], images=[png(1), png(2)]
    )["similarity"]
    found = evaluator.score(["a stone", ""], ["x", "x"], PROTOCOLS[protocol], images=[png(1), png(2)])["similarity"]
    official = [2.5 * max(value, 0.0) for value in cosine]
    expected = {"as-described": cosine, "imageclef-2025": official, "imageclef-2026": [official[0], 0.0]}
    assert found == pytest.approx(expected[protocol], abs=1e-7)


@pytest.mark.parametrize("metric", METRICS)
def test_the_empty_rule_is_every_metrics_but_bleurts(metric: str) -> None:
    values = with_empty_rule(metric, [0.3, 0.4, 0.5], ["", " \n", "a"], [" ", "b", ""], PROTOCOLS["imageclef-2026"])
    assert values == ([0.3, 0.4, 0.5] if metric == "bleurt" else [1.0, 0.4, 0.5])


def test_without_images_similarity_is_not_scored(scorers: Path) -> None:
    evaluator = Evaluator(scorers, images=False)
    assert evaluator.missing["similarity"] == "no images given"
    assert "similarity" not in evaluator.score(["a"], ["b"], PROTOCOLS["as-described"])


def write(path: Path, rows: list[tuple[str, str]], header: str = "ID,Caption") -> Path:
    path.write_text("\n".join([header, *(f'{id_},"{text}"' for id_, text in rows)]) + "\n", encoding="utf-8")
    return path


def test_the_command_scores_two_files_in_the_references_order(scorers: Path, tmp_path: Path, capsys) -> None:
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
    assert (found["protocol"], found["n"], found["images_missing"]) == ("imageclef-2025", 4, 1)
    table = pq.read_table(out).to_pydict()
    assert table["id"] == sorted(ids)
    by_id = dict(zip(table["id"], table["rouge1"], strict=True))
    assert by_id["d"] == 1.0
    assert by_id["b"] == pytest.approx(5 / 6)
    # The row without an image.
    assert table["similarity"][table["id"].index("c")] == 0.0

    cli.main(["score", str(candidates), str(references), "--scorers", str(scorers), "--metrics", "rouge1", "bleurt"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [*METRICS, "relevance", "factuality", "overall", "n"]
    assert lines[0].split()[1] == "n/a"


MISTAKES = [
    ([("a", "x")], [("a", "x"), ("b", "y")], "lacks 1 of the ids of .*, first 'b'"),
    ([("a", "x"), ("z", "y")], [("a", "x")], "holds 1 ids that .* has not, first 'z'"),
    ([("a", "x"), ("a", "y")], [("a", "x")], "line 3: id 'a' is there twice"),
    ([], [], "holds no caption"),
]


@pytest.mark.parametrize(("given", "wanted", "message"), MISTAKES)
def test_files_that_do_not_match_are_one_clear_line(tmp_path: Path, given, wanted, message: str) -> None:
    with pytest.raises(UserError, match=message):
        pair(write(tmp_path / "c.csv", given), write(tmp_path / "r.csv", wanted))


def test_folders_without_images_are_one_clear_line(tmp_path: Path) -> None:
    rows = [("a", "x")]
    files_ = write(tmp_path / "c.csv", rows), write(tmp_path / "r.csv", rows)
    with pytest.raises(UserError, match="does not exist"):
        pair(*files_, tmp_path / "nowhere")
    with pytest.raises(UserError, match="holds no image"):
        pair(*files_, tmp_path)


def test_nothing_to_score_is_one_clear_line(scorers: Path, tmp_path: Path, capsys) -> None:
    rows = [("a", "x")]
    files_ = [str(write(tmp_path / name, rows)) for name in ("c.csv", "r.csv")]
    with pytest.raises(SystemExit):
        cli.main(["score", *files_, "--scorers", str(scorers), "--metrics", "umls_f1", "similarity"])
    assert "umls_f1: packs/umls.zip not found; similarity: no images given" in capsys.readouterr().err
