"""One loading function: a miniature saved in the published layout stands for published weights."""

import json
from pathlib import Path

import pytest
import torch

from radcap.errors import UserError
from radcap.models import base
from radcap.models.inputs import collate, encode, fill
from tests.conftest import png
from tests.models_for_tests import KEYS, PARAMS, shared


def logits(loaded: base.Loaded, key: str) -> torch.Tensor:
    features, _ = encode(loaded, png(), fill(PARAMS.models[key].template, "Describe it."))
    batch = collate([features], ids=loaded.family.ids, pad_id=0, side="left")
    with torch.inference_mode():
        return loaded.model.eval()(**batch).logits


@pytest.fixture
def published(tmp_path: Path):
    """A local folder in a model's published layout: no base.json, as on the hub."""

    def save(key: str) -> Path:
        folder = tmp_path / "checkpoint"
        base.save_miniature(shared(key), folder, family_name=PARAMS.models[key].family)
        (folder / base.RECORD).unlink()
        return folder

    return save


@pytest.mark.parametrize("key", KEYS)
def test_published_weights_load_as_they_were(published, tmp_path: Path, key: str) -> None:
    folder, name = published(key), PARAMS.models[key].family
    record = base.record_published(tmp_path / "base", family_name=name, checkpoint=str(folder), revision="main")
    assert set(record["files"]) == {path.name for path in folder.iterdir()}
    loaded = base.load(tmp_path / "base", dtype="float32")
    # Equal but for the last digit, which depends on where the weights lie in memory.
    assert torch.allclose(logits(loaded, key), logits(shared(key), key), atol=1e-6)


@pytest.mark.parametrize("key", KEYS)
def test_missing_weights_are_an_error_not_random_numbers(published, tmp_path: Path, key: str) -> None:
    from safetensors.torch import load_file, save_file

    folder = published(key)
    weights = load_file(folder / "model.safetensors")
    lost = next(name for name in sorted(weights) if (name.endswith("weight") and "layers.0" in name) or ".h.0." in name)
    weights.pop(lost)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match="1 weights are missing or of another shape"):
        base.load_weights(shared(key).family, str(folder), revision=None, dtype="float32")


def test_a_wrong_checkpoint_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for checkpoint in (str(tmp_path / "empty"), "nobody/nothing-here"):
        with pytest.raises(UserError, match="^checkpoint ") as caught:
            base.record_published(tmp_path / "b", family_name="llava", checkpoint=checkpoint, revision="main")
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "b" / base.RECORD).exists()


def test_a_base_record_hashes_every_file(tmp_path: Path) -> None:
    base.save_miniature(shared("smolvlm_500m"), tmp_path, family_name="smolvlm")
    record = json.loads((tmp_path / base.RECORD).read_text())
    assert set(record["files"]) == {path.name for path in tmp_path.iterdir()} - {base.RECORD}
    assert all(len(digest) == 64 for digest in record["files"].values())
