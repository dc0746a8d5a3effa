"""One loading function: a miniature saved in the published layout stands for published weights."""

import hashlib
import json
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from radcap.errors import UserError
from radcap.models import base
from radcap.models.inputs import collate, encode, fill_template
from tests.conftest import png
from tests.models_for_tests import KEYS, PARAMS, shared


def logits(loaded: base.LoadedModel, key: str) -> torch.Tensor:
    features, _ = encode(loaded, png(), fill_template(PARAMS.models[key].template, "Describe it."))
    batch = collate([features], loaded.family, pad_id=0, side="left")
    with torch.inference_mode():
        return loaded.model.eval()(**batch).logits


@pytest.fixture
def published(tmp_path: Path):
    """A local folder in a model's published layout: no base.json, as on the hub; weights in shards."""

    def save(key: str) -> Path:
        folder = tmp_path / "checkpoint"
        base.save_miniature(shared(key), folder, family_name=PARAMS.models[key].family)
        (folder / base.RECORD).unlink()
        (folder / "model.safetensors").unlink()
        shared(key).model.save_pretrained(folder, max_shard_size="500KB")
        assert len(list(folder.glob("model-*.safetensors"))) > 1
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
def test_a_processor_is_saved_alike_however_it_was_loaded(published, tmp_path: Path, key: str) -> None:
    """transformers writes into a tokenizer's files whether it was loaded offline."""
    folder, name = published(key), PARAMS.models[key].family
    base.record_published(tmp_path / "base", family_name=name, checkpoint=str(folder), revision="main")
    loaded = base.load(tmp_path / "base", dtype="float32")
    loaded.family.save_processor(loaded.processor, str(tmp_path / "saved"))
    text = (tmp_path / "saved/tokenizer_config.json").read_text()
    assert [word for word in base.HOW_LOADED if word in text] == []


def _without_a_weight(folder: Path) -> None:
    shards = {path: load_file(path) for path in sorted(folder.glob("model-*.safetensors"))}
    names = sorted(name for weights in shards.values() for name in weights)
    lost = next(name for name in names if name.endswith("weight") and re.search(r"\.(layers|h)\.0\.", name))
    for path, weights in shards.items():
        if weights.pop(lost, None) is not None:
            save_file(weights, path, metadata={"format": "pt"})
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    index["weight_map"].pop(lost)
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def _with_a_wrong_shape(folder: Path) -> None:
    path = min(folder.glob("model-*.safetensors"))
    weights = load_file(path)
    name = next(name for name, weight in weights.items() if weight.ndim == 2)
    weights[name] = weights[name][:-1].clone()
    save_file(weights, path, metadata={"format": "pt"})


DAMAGE = {
    "a lost weight": (_without_a_weight, "1 weights are missing or of another shape"),
    "a wrong shape": (_with_a_wrong_shape, "1 weights are missing or of another shape"),
    "a lost shard": (lambda folder: max(folder.glob("model-*.safetensors")).unlink(), "cannot be loaded"),
    "half a shard": (
        lambda folder: (path := max(folder.glob("model-*.safetensors"))).write_bytes(path.read_bytes()[:-1000]),
        "cannot be loaded",
    ),
    "no config": (lambda folder: (folder / "config.json").unlink(), "cannot be loaded"),
    "another model": (
        lambda folder: (folder / "config.json").write_text('{"model_type": "bert"}'),
        "model_type 'bert'",
    ),
    "no tokenizer": (
        lambda folder: [path.unlink() for path in folder.glob("*") if re.match("token|vocab|merges", path.name)],
        "cannot be loaded",
    ),
    "no image settings": (
        lambda folder: [path.unlink() for path in folder.glob("*processor*.json")],
        "cannot be loaded",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("key", KEYS)
def test_an_incomplete_folder_is_one_clear_line(published, key: str, damage: str) -> None:
    """Never random numbers in a weight's place, never a tokenizer or an image size out of nothing."""
    folder = published(key)
    if damage == "no image settings" and not list(folder.glob("*processor*.json")):
        pytest.skip("this family keeps them in config.json")
    spoil, message = DAMAGE[damage]
    spoil(folder)
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        base.load_weights(shared(key).family, str(folder), revision=None, dtype="float32")
    assert str(caught.value).startswith("checkpoint ")
    assert "\n" not in str(caught.value)


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


def test_a_single_file_is_a_checkpoint_too(tmp_path: Path) -> None:
    """CheXNet's weights are published as one file, without a configuration."""
    (tmp_path / "model.pth.tar").write_bytes(b"weights")
    place = str(tmp_path / "model.pth.tar")
    record = base.record_published(tmp_path / "b", family_name="cnn_transformer", checkpoint=place, revision="main")
    assert (record["checkpoint"], record["revision"]) == (place, None)
    assert record["files"] == {"model.pth.tar": hashlib.sha256(b"weights").hexdigest()}
