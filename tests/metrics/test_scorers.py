"""Miniatures are trained, published checkpoints found, and both recorded; missing ones have a reason."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from radcap import files
from radcap.errors import UserError
from radcap.metrics import scorers
from radcap.metrics.bleurt import BleurtScorer
from radcap.metrics.evaluator import Evaluator
from radcap.metrics.protocols import METRICS
from radcap.settings import ScorerSteps
from tests.metrics.miniatures.phantoms import rows
from tests.metrics.test_protocols import GOLDEN
from tests.models_for_tests import PARAMS


@pytest.fixture
def settings(tmp_path: Path):
    places = {name: str(tmp_path / name) for name in ("medimageinsight", "bleurt", "alignscore", "punkt")}
    return PARAMS.profiles["rocov2"].scorers.model_copy(update=places)


def test_absent_checkpoints_are_reported_with_their_reason(settings, tmp_path: Path, monkeypatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    found = scorers._find_published(settings, tmp_path / "out")
    assert list(found) == ["similarity", "bertscore", "bleurt", "alignscore", "umls_f1"]
    assert all(list(block) == ["missing"] for block in found.values())
    assert "medimageinsight not found; put MedImageInsight's published folder there" in found["similarity"]["missing"]
    assert "neither a local folder nor reachable on the hub" in found["bleurt"]["missing"]
    assert found["umls_f1"]["missing"] == "packs/umls.zip not found; a UMLS pack needs the user's own NLM licence"
    assert all("\n" not in block["missing"] for block in found.values())


def test_local_folders_are_recorded_with_their_hashes(settings, tmp_path: Path) -> None:
    for name in ("medimageinsight", "bleurt", "alignscore"):
        shutil.copytree(GOLDEN / name, tmp_path / name)
    found = scorers._find_published(settings, tmp_path / "out")
    for name, folder in (("similarity", "medimageinsight"), ("bleurt", "bleurt"), ("alignscore", "alignscore")):
        assert found[name]["checkpoint"] == str(tmp_path / folder)
        assert found[name]["files"].keys() == {
            path.relative_to(GOLDEN / folder).as_posix() for path in (GOLDEN / folder).rglob("*") if path.is_file()
        }
    assert found["alignscore"]["punkt"] is None
    assert BleurtScorer(Path(found["bleurt"]["checkpoint"])).score(["a"], ["b"])[0] != 0


def test_alignscores_lightning_file_is_converted_once(settings, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    for name in ("config.json", "vocab.json", "merges.txt"):
        shutil.copy(GOLDEN / "alignscore" / name, tmp_path / "source" / name)
    ckpt = tmp_path / "source/AlignScore-base.ckpt"
    torch.save({"state_dict": load_file(GOLDEN / "alignscore/weights.safetensors")}, ckpt)
    given = settings.model_copy(update={"alignscore": str(ckpt)})
    block = scorers._find_published(given, tmp_path / "out")["alignscore"]
    assert (block["checkpoint"], len(block["sha256"])) == ("alignscore", 64)
    assert (tmp_path / "out/alignscore/weights.safetensors").exists()


ROWS = rows(6, seed=7)
FEW = ScorerSteps(similarity=1, bertscore=1, bleurt=1, alignscore=1)


def test_the_samples_scorers_are_recorded_and_open_with_no_special_case(tmp_path: Path) -> None:
    sample = PARAMS.profiles["sample"].scorers.model_copy(update={"steps": FEW})
    record = scorers.make_scorers(sample, tmp_path / "out", rows=ROWS, general=["A red square."], seed=3)
    assert record == files.read_json(tmp_path / "out/scorers.json")
    assert record["bertscore"]["layer"] == sample.deberta_layer
    for metric in ("similarity", "bertscore", "bleurt", "alignscore"):
        block = record[metric]
        assert block["files"] == files.folder_hashes(tmp_path / "out" / block["checkpoint"])
    # Also from another place: the checkpoints lie beside the record.
    (tmp_path / "out").rename(tmp_path / "moved")
    evaluator = Evaluator(tmp_path / "moved")
    assert evaluator.missing == {}
    captions = [row["caption"] for row in ROWS]
    found = evaluator.score(captions, captions[::-1], [row["image"] for row in ROWS])
    assert all(any(name.startswith(metric) for name in found.values) for metric in METRICS)


@pytest.mark.parametrize("metric", ScorerSteps.model_fields)
def test_no_steps_train_no_miniature(metric: str, tmp_path: Path) -> None:
    steps = FEW.model_copy(update={metric: 0})
    sample = PARAMS.profiles["sample"].scorers.model_copy(update={"steps": steps})
    with pytest.raises(UserError, match=rf"scorers\.steps\.{metric}: 0 trains no miniature; allowed: 1 and more"):
        scorers.make_scorers(sample, tmp_path / "out", rows=ROWS, general=[], seed=3)
