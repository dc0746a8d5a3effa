"""Saving, strict loading, the published layout, and predictions that no neighbour changes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import ResNetConfig, ResNetForImageClassification

from radcap import files
from radcap.data.images import BadImage
from radcap.errors import UserError
from radcap.modality import classifier
from radcap.modality.classes import CLASSES
from radcap.modality.classifier import Classifier
from radcap.modality.predict import classify, open_classifier, probabilities
from radcap.modality.predictions import most_likely
from tests.modality.cases import RULES, picture, published_layout, train, write_split

IMAGES = [picture(index % 3, index) for index in range(11)]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Classifier, Path]:
    folder = tmp_path_factory.mktemp("trained")
    made, _ = train(write_split(folder / "rows.arrow", 30), epochs=8)
    classifier.initialize(folder / "model", RULES, weights="miniature")
    made.save(folder / "model")
    return made, folder / "model"


@pytest.fixture
def copy(trained: tuple[Classifier, Path], tmp_path: Path) -> Path:
    for path in trained[1].iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def edit(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change the tensors of a folder's model.safetensors."""
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def test_what_is_saved_predicts_the_same(trained: tuple[Classifier, Path]) -> None:
    made, folder = trained
    assert {path.name for path in folder.iterdir()} == {
        "base.json", "config.json", "model.safetensors", "preprocessor_config.json",
    }  # fmt: skip
    opened = open_classifier(folder)
    wanted = probabilities(made, IMAGES, batch_size=4)
    assert np.array_equal(probabilities(opened, IMAGES, batch_size=4), wanted)
    assert list(opened.model.config.id2label.values()) == list(CLASSES)
    assert [name for name, _ in classify(opened, IMAGES, batch_size=4)] == ["ct", "x-ray", "mri"] * 3 + ["ct", "x-ray"]


def test_a_prediction_does_not_depend_on_its_neighbours(trained: tuple[Classifier, Path]) -> None:
    wanted = probabilities(trained[0], IMAGES, batch_size=1)
    for batch_size in (2, 7, 64):
        found = probabilities(trained[0], IMAGES, batch_size=batch_size)
        np.testing.assert_allclose(found, wanted, atol=1.1e-5, rtol=0)
        assert [name for name, _ in most_likely(found)] == [name for name, _ in most_likely(wanted)]
    backwards = probabilities(trained[0], IMAGES[::-1], batch_size=4)[::-1]
    np.testing.assert_allclose(backwards, wanted, atol=1.1e-5, rtol=0)
    np.testing.assert_allclose(wanted.sum(1), 1, atol=1e-4)
    assert np.array_equal(
        probabilities(trained[0], IMAGES, batch_size=4, workers=1), probabilities(trained[0], IMAGES, batch_size=4)
    )


def test_no_images_are_no_predictions_and_a_broken_one_is_told(trained: tuple[Classifier, Path]) -> None:
    assert classify(trained[0], [], batch_size=4) == []
    with pytest.raises(BadImage, match="file is no image"):
        classify(trained[0], [IMAGES[0], b"no image"], batch_size=4)


DAMAGE = [
    (lambda tensors: tensors.pop("resnet.embedder.embedder.convolution.weight"), "embedder.convolution.weight"),
    (lambda tensors: tensors.pop("classifier.1.bias"), "classifier.1.bias"),
    (lambda tensors: tensors.update({"resnet.more": torch.ones(2)}), "resnet.more"),
]


@pytest.mark.parametrize(("change", "name"), DAMAGE, ids=["missing", "head", "unexpected"])
def test_damaged_weights_are_refused(copy: Path, change: Callable[[dict[str, Any]], Any], name: str) -> None:
    edit(copy, change)
    with pytest.raises(UserError, match=rf"is no such ResNet: 1 weights are missing, .* first .*{name}"):
        open_classifier(copy)


def test_other_classes_are_refused(copy: Path) -> None:
    config = files.read_json(copy / "config.json")
    config["id2label"] = {str(7 - int(index)): name for index, name in config["id2label"].items()}
    files.write_json(copy / "config.json", config)
    with pytest.raises(UserError, match=r"its classes are not ct, x-ray, .*; run `dvc repro modality`"):
        open_classifier(copy)


def test_a_folder_without_classifier_says_why(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"base.json not found; `dvc repro modality` makes the modality classifier"):
        open_classifier(tmp_path)
    classifier.record_untrained(tmp_path, "there was nothing to learn from")
    with pytest.raises(UserError, match=r"holds no modality classifier: there was nothing to learn from"):
        open_classifier(tmp_path)


@pytest.fixture
def hub_copy(tmp_path: Path) -> Path:
    return published_layout(tmp_path / "resnet")


def start(checkpoint: Path, out: Path) -> Classifier:
    rules = RULES.model_copy(update={"checkpoint": str(checkpoint)})
    return classifier.initialize(out, rules, weights="published")


def test_published_weights_are_all_loaded_under_a_fresh_head(hub_copy: Path, tmp_path: Path) -> None:
    torch.manual_seed(1)
    made = start(hub_copy, tmp_path / "out")
    stored, ours = load_file(hub_copy / "model.safetensors"), made.model.state_dict()
    assert stored.keys() == ours.keys()
    body = [name for name in stored if not name.startswith("classifier.")]
    assert all(torch.equal(stored[name], ours[name]) for name in body)
    assert stored["classifier.1.weight"].shape == (1000, 32)
    assert ours["classifier.1.weight"].shape == (8, 32)
    assert list(made.model.config.id2label.values()) == list(CLASSES)
    assert probabilities(made, IMAGES[:3], batch_size=2).shape == (3, 8)
    pixels = made.processor(torch.zeros(3, 50, 70, dtype=torch.uint8), return_tensors="pt")["pixel_values"]
    assert pixels.shape == (1, 3, 32, 32)
    torch.testing.assert_close(
        pixels[0, :, 5, 5], -torch.tensor([0.485, 0.456, 0.406]) / torch.tensor([0.229, 0.224, 0.225])
    )
    record = files.read_json(tmp_path / "out" / "base.json")
    assert (record["weights"], record["checkpoint"]) == ("published", str(hub_copy))
    assert record["files"] == files.folder_hashes(hub_copy)


def test_a_head_of_the_same_size_is_fresh_too(trained: tuple[Classifier, Path], tmp_path: Path) -> None:
    torch.manual_seed(1)
    first = start(trained[1], tmp_path / "out").model.state_dict()
    torch.manual_seed(1)
    second = start(trained[1], tmp_path / "out").model.state_dict()
    old = trained[0].model.state_dict()
    assert not torch.equal(first["classifier.1.weight"], old["classifier.1.weight"])
    assert torch.equal(first["classifier.1.weight"], second["classifier.1.weight"])


STRICT = [
    (lambda tensors: tensors.pop("resnet.encoder.stages.1.layers.1.layer.0.convolution.weight"), "is no such ResNet: 1 weights"),
    (lambda tensors: tensors.update({"resnet.more": torch.ones(2)}), "is no such ResNet: 1 weights .* first resnet.more"),
    (lambda tensors: tensors.update({"resnet.embedder.embedder.convolution.weight": torch.ones(9, 3, 7, 7)}), "is no such ResNet: 1 weights"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "told"), STRICT, ids=["missing", "unexpected", "reshaped"])
def test_a_published_checkpoint_must_be_whole(hub_copy: Path, tmp_path: Path, change: Any, told: str) -> None:
    edit(hub_copy, change)
    with pytest.raises(UserError, match=told) as caught:
        start(hub_copy, tmp_path / "out")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "told"),
    [("config.json", "holds no config.json"), ("preprocessor_config.json", "has no image processor"), ("model.safetensors", "cannot be loaded")],
)  # fmt: skip
def test_a_missing_file_of_it_is_one_line(hub_copy: Path, tmp_path: Path, name: str, told: str) -> None:
    (hub_copy / name).unlink()
    with pytest.raises(UserError, match=told) as caught:
        start(hub_copy, tmp_path / "out")
    assert "\n" not in str(caught.value)


def test_batch_counts_need_not_be_there(hub_copy: Path, tmp_path: Path) -> None:
    edit(hub_copy, lambda t: [t.pop(name) for name in list(t) if name.endswith("num_batches_tracked")])
    start(hub_copy, tmp_path / "out")


def test_a_checkpoint_that_is_nowhere_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"checkpoint 'someone/resnet': neither a local folder nor reachable on the hub"
    ):
        start(Path("someone/resnet"), tmp_path)


def test_the_settings_are_those_of_resnet_50() -> None:
    """Microsoft's ResNet-50 is what transformers builds without settings: 25.6 million parameters with ImageNet's head."""
    with torch.device("meta"):
        model = ResNetForImageClassification(ResNetConfig(num_labels=1000))
    assert model.num_parameters() == 25_557_032
    made = classifier.build_miniature(RULES.miniature).model.config
    for name in ("layer_type", "hidden_act", "downsample_in_first_stage", "downsample_in_bottleneck"):
        assert getattr(made, name) == getattr(model.config, name)
