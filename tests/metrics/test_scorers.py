"""Published checkpoints are recorded where they lie; what is not there is told, and does not stop a run."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from radcap.metrics import scorers
from radcap.metrics.bleurt import BleurtScorer
from tests.metrics.test_scores import GOLDEN
from tests.models_for_tests import PARAMS


@pytest.fixture
def settings(tmp_path: Path):
    places = {name: str(tmp_path / name) for name in ("medimageinsight", "bleurt", "alignscore", "punkt")}
    return PARAMS.profiles["rocov2"].scorers.model_copy(update=places)


def test_absent_checkpoints_are_told_with_their_reason(settings, tmp_path: Path, monkeypatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    found = scorers._published(settings, tmp_path / "out")
    assert list(found) == ["similarity", "bleurt", "alignscore"]
    assert all(list(block) == ["missing"] for block in found.values())
    assert "medimageinsight not found; put MedImageInsight's published folder there" in found["similarity"]["missing"]
    assert "neither a local folder nor reachable on the hub" in found["bleurt"]["missing"]
    assert all("\n" not in block["missing"] for block in found.values())


def test_local_folders_are_recorded_with_their_hashes(settings, tmp_path: Path) -> None:
    for name in ("medimageinsight", "bleurt", "alignscore"):
        shutil.copytree(GOLDEN / name, tmp_path / name)
    found = scorers._published(settings, tmp_path / "out")
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
    block = scorers._published(given, tmp_path / "out")["alignscore"]
    assert (block["checkpoint"], len(block["sha256"])) == ("alignscore", 64)
    assert (tmp_path / "out/alignscore/weights.safetensors").exists()
