"""The CNN-Transformer: CheXNet's weights read strictly, and an encoder that behaves as published classes do."""

import json
from pathlib import Path

import pytest
import torch
from monai.networks.nets.densenet import DenseNet
from safetensors.torch import load_file, save_file

from radcap import files
from radcap.errors import UserError
from radcap.models import base
from radcap.models.base import LoadedModel
from radcap.models.families import cnn_transformer
from radcap.models.families.cnn_transformer import FAMILY, chexnet
from radcap.models.families.cnn_transformer.encoder import CnnEncoder, CnnEncoderConfig, densenet
from radcap.models.family import get_family
from radcap.models.initialization import initialize_weights
from radcap.models.inputs import collate, encode
from radcap.settings import Miniature
from tests.conftest import png
from tests.models_for_tests import ROOT, TEXTS

GOLDEN = Path(__file__).parent / "golden/chexnet"
SIZES = json.loads((GOLDEN / "config.json").read_text())
CASES = [case["id"] for case in json.loads((GOLDEN / "cases.json").read_text())["cases"]]
NET = {key: SIZES[key] for key in ("growth_rate", "block_config")} | {"init_features": SIZES["num_init_features"]}
TINY = Miniature(
    model_type="vision-encoder-decoder",
    text_type="bart",
    image_size=32,
    patch_size=8,
    vision_width=32,
    vision_layers=2,
    width=32,
    layers=2,
    heads=4,
    key_value_heads=4,
    vocabulary=300,
)


@pytest.fixture
def loaded() -> LoadedModel:
    """A miniature whose batch norms have seen something."""
    torch.manual_seed(0)
    model, processor = FAMILY.miniature(TINY, TEXTS)
    initialize_weights(model)
    with torch.no_grad():
        for _ in range(5):
            model.train().encoder(torch.randn(4, 3, 32, 32) + 1)
    return LoadedModel(FAMILY, model.eval(), processor)


def logits(loaded: LoadedModel, seeds: tuple[int, ...] = (0,)) -> torch.Tensor:
    examples = [encode(loaded, png(seed), "", caption="CT.", max_caption_tokens=8)[0] for seed in seeds]
    batch = collate(examples, FAMILY, pad_id=0, side="right")
    with torch.inference_mode():
        return loaded.model(**batch).logits


# CheXNet


def weights() -> dict[str, torch.Tensor]:
    return load_file(GOLDEN / "weights.safetensors")


@pytest.mark.parametrize("case", CASES)
def test_chexnet_gives_the_reference_outputs(case: str) -> None:
    net = DenseNet(spatial_dims=2, in_channels=3, out_channels=14, bn_size=SIZES["bn_size"], **NET).eval()
    assert chexnet.load_features(net.features, GOLDEN / "weights.safetensors") == 2
    head = {name: weights()[f"module.densenet121.classifier.0.{name}"] for name in ("weight", "bias")}
    net.class_layers.out.load_state_dict(head)
    expected = load_file(GOLDEN / "tensors.safetensors")
    with torch.inference_mode():
        features, scores = net.features(expected[f"{case}.pixels"]), net(expected[f"{case}.pixels"])
    # Stored under the name feature_map_before_relu, but torchvision's ReLU works in place: no value is below 0.
    torch.testing.assert_close(features.relu(), expected[f"{case}.feature_map"], atol=2e-6, rtol=0)
    torch.testing.assert_close(scores, expected[f"{case}.logits"], atol=2e-6, rtol=0)
    torch.testing.assert_close(scores.sigmoid(), expected[f"{case}.probabilities"], atol=1e-6, rtol=0)


def test_the_encoder_has_the_same_densenet() -> None:
    config = CnnEncoderConfig(image_size=64, hidden_size=8, num_attention_heads=2, intermediate_size=8, **NET)
    encoder = CnnEncoder(config)
    chexnet.load_features(encoder.densenet, GOLDEN / "weights.safetensors")
    whole = DenseNet(spatial_dims=2, in_channels=3, out_channels=14, **NET)
    assert encoder.densenet.state_dict().keys() == whole.features.state_dict().keys()
    assert encoder.densenet.norm5.num_features == config.channels
    assert encoder(torch.zeros(1, 3, 64, 64)).last_hidden_state.shape == (1, config.positions, 8)


def old_file(path: Path, state: dict[str, torch.Tensor]) -> Path:
    """As torch saved in 2017, with what training left beside the weights."""
    checkpoint = {"epoch": 3, "arch": "densenet121", "best_loss": 0.2, "state_dict": state, "optimizer": {}}
    torch.save(checkpoint, path, _use_new_zipfile_serialization=False)
    return path


def test_the_public_files_format_gives_the_same_weights(tmp_path: Path) -> None:
    # Files saved since 2018 count the batches; other numbers than ours must arrive.
    counts = {
        name.replace("running_mean", "num_batches_tracked"): torch.tensor(7) for name in weights() if "mean" in name
    }
    nets = [densenet(CnnEncoderConfig(**NET)) for _ in range(3)]
    assert chexnet.load_features(nets[0], GOLDEN / "weights.safetensors") == 2
    assert chexnet.load_features(nets[1], old_file(tmp_path / "model.pth.tar", weights())) == 2
    assert chexnet.load_features(nets[2], old_file(tmp_path / "model.pt", weights() | counts)) == 2
    for name, tensor in nets[0].state_dict().items():
        assert torch.equal(tensor, nets[1].state_dict()[name])
        if name.endswith("num_batches_tracked"):
            tensor = torch.tensor(7)
        assert torch.equal(tensor, nets[2].state_dict()[name])


LAYER = "module.densenet121.features.denseblock1.denselayer1"
WRONG = {
    "1 weights are missing, first denseblock1.denselayer1.layers.norm1.running_mean": lambda w: w.pop(f"{LAYER}.norm.1.running_mean"),
    "2 weights are unexpected, first denseblock1.denselayer9.a": lambda w: w.update({f"{LAYER[:-1]}9.{n}": torch.ones(1) for n in "ab"}),
    "1 weights are of another shape, first denseblock1.denselayer1.layers.conv1.weight": lambda w: w.update({f"{LAYER}.conv.1.weight": torch.ones(2, 2)}),
    "holds no state_dict of tensors": lambda w: w.update(epoch=3),
}  # fmt: skip


@pytest.mark.parametrize("message", WRONG)
def test_other_weights_are_one_clear_line_and_change_nothing(tmp_path: Path, message: str) -> None:
    net, state = densenet(CnnEncoderConfig(**NET)), weights()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    WRONG[message](state)
    with pytest.raises(ValueError, match=message) as caught:
        chexnet.load_features(net, old_file(tmp_path / "model.pth.tar", state))
    assert "\n" not in str(caught.value)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


@pytest.mark.parametrize("name", ["model.pth.tar", "model.safetensors"])
@pytest.mark.parametrize("content", [b"", b"<!DOCTYPE html>\n" * 9, b"\x80\x02}q\x00(X\x05\x00\x00\x00stateq\x01"])
def test_no_checkpoint_is_one_clear_line(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"{name} cannot be read as weights") as caught:
        chexnet.load_features(densenet(CnnEncoderConfig(**NET)), tmp_path / name)
    assert "\n" not in str(caught.value)


@pytest.fixture
def small_full_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The full-size configuration with CheXNet of the golden vectors, and a folder with its file and a tokenizer."""
    model, processor = FAMILY.miniature(TINY, TEXTS)
    tree = model.config.to_dict()
    tree["encoder"] |= NET
    files.write_json(tmp_path / "full.json", {key: tree[key] for key in ("model_type", "encoder", "decoder")})
    monkeypatch.setattr(cnn_transformer, "FULL_SIZE", tmp_path / "full.json")
    folder = tmp_path / "chexnet"
    folder.mkdir()
    processor.tokenizer.save_pretrained(folder)
    return old_file(folder / "model.pth.tar", weights())


def test_a_chexnet_file_stands_for_the_model(small_full_size: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = torch.get_rng_state()
    one, two = (base.load_weights(FAMILY, str(small_full_size), revision="main", dtype="float32") for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)
    assert "2 tensors of its classifier left out" in capsys.readouterr().out
    assert torch.equal(logits(one), logits(two))
    conv0 = weights()["module.densenet121.features.conv0.weight"]
    assert torch.equal(one.model.encoder.densenet.conv0.weight, conv0)
    assert one.processor.image_processor.size.height == 32
    half = base.load_weights(FAMILY, str(small_full_size), revision="main", dtype="bfloat16")
    assert logits(half).dtype == torch.bfloat16
    assert torch.allclose(logits(half).float(), logits(one), atol=0.05)


def test_a_missing_or_wrong_file_is_one_clear_line(small_full_size: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere.pth.tar") as caught:
        base.load_weights(FAMILY, str(tmp_path / "nowhere.pth.tar"), revision=None, dtype="float32")
    assert "\n" not in str(caught.value)
    old_file(small_full_size, {})
    with pytest.raises(UserError, match="weights are missing, first conv0.weight"):
        base.load_weights(FAMILY, str(small_full_size), revision=None, dtype="float32")


# Sizes, saving and loading


def test_full_sizes_are_the_studys() -> None:
    folder = ROOT / "src/radcap/models/full_size"
    sizes = {"cnn_transformer": 48.2, "vision_gpt2": 239.2}
    for key, millions in sizes.items():
        adapter = get_family(key)
        with torch.device("meta"):
            model = adapter.build(adapter.config(json.loads((folder / f"{key}.json").read_text())))
        assert model.num_parameters() / 1e6 == pytest.approx(millions, abs=0.05)
        parts = dict.fromkeys(adapter.components.values(), 0)
        for name, parameter in model.named_parameters():
            parts[str(adapter.component(name))] += parameter.numel()
        assert "None" not in parts
        if key == "cnn_transformer":
            # DenseNet-121 without its classifier
            assert parts["vision"] == 6_953_856


def test_every_module_has_a_component_and_a_kind(loaded: LoadedModel) -> None:
    inventory = FAMILY.inventory(loaded.model)
    assert [module for module in inventory if "other" in (module.component, module.kind)] == []
    head = next(module for module in inventory if module.component == "head")
    assert loaded.model.get_submodule(head.name).weight is loaded.model.get_input_embeddings().weight


@pytest.mark.parametrize("shard", ["5GB", "40KB"])
def test_saved_weights_load_as_they_were(loaded: LoadedModel, tmp_path: Path, shard: str) -> None:
    loaded.model.save_pretrained(tmp_path, max_shard_size=shard)
    FAMILY.save_processor(loaded.processor, str(tmp_path))
    shards = len(list(tmp_path.glob("model*.safetensors")))
    assert (shards > 1) == (shard == "40KB")
    again = base.load_weights(FAMILY, str(tmp_path), revision=None, dtype="float32")
    assert torch.allclose(logits(again), logits(loaded), atol=1e-6)
    for name, tensor in loaded.model.state_dict().items():
        assert torch.equal(tensor, again.model.state_dict()[name])
    assert "auto_map" not in (tmp_path / "config.json").read_text()


def test_missing_statistics_are_an_error(loaded: LoadedModel, tmp_path: Path) -> None:
    base.save_miniature(loaded, tmp_path, family_name="cnn_transformer")
    state = load_file(tmp_path / "model.safetensors")
    state.pop("encoder.densenet.norm5.running_var")
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match="1 weights are missing .* encoder.densenet.norm5.running_var"):
        base.load_weights(FAMILY, str(tmp_path), revision=None, dtype="float32")


# Behaviour


def test_a_picture_does_not_see_its_batch(loaded: LoadedModel) -> None:
    together = logits(loaded, (0, 1, 2))
    for index in range(3):
        assert torch.allclose(together[index], logits(loaded, (index,))[0], atol=1e-5)
    loaded.model.train()
    assert not torch.allclose(logits(loaded, (0, 1, 2))[0], together[0], atol=1e-2)


def test_a_frozen_densenet_keeps_its_statistics(loaded: LoadedModel) -> None:
    def moved() -> bool:
        before = {name: tensor.clone() for name, tensor in loaded.model.encoder.densenet.named_buffers()}
        loaded.model.train()
        loaded.model.encoder(torch.randn(4, 3, 32, 32) + 3)
        return any(not torch.equal(t, before[name]) for name, t in loaded.model.encoder.densenet.named_buffers())

    assert moved()
    for name, parameter in loaded.model.named_parameters():
        parameter.requires_grad_(FAMILY.component(name) != "vision")
    assert not moved()
    assert loaded.model.encoder.layers.training
    loaded.model.requires_grad_(True)
    assert moved()


def test_every_weight_gets_a_gradient(loaded: LoadedModel) -> None:
    loaded.model.train()
    example, _ = encode(loaded, png(), "", caption="CT of the chest.", max_caption_tokens=8)
    example.pop("labels")
    loaded.model(**example).logits.square().sum().backward()
    assert [name for name, p in loaded.model.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_other_picture_sizes_are_an_error(loaded: LoadedModel) -> None:
    with pytest.raises(ValueError, match="the model takes 32 x 32"):
        loaded.model.encoder(torch.zeros(1, 3, 8, 8))


@pytest.mark.parametrize(("patch_size", "positions"), [(4, 64), (8, 16), (16, 4), (32, 1)])
def test_patch_size_is_the_networks_stride(patch_size: int, positions: int) -> None:
    model, _ = FAMILY.miniature(TINY.model_copy(update={"patch_size": patch_size}), TEXTS)
    assert model.eval().encoder(torch.zeros(1, 3, 32, 32)).last_hidden_state.shape == (1, positions, 32)
    assert model.config.encoder.positions == positions


@pytest.mark.parametrize("patch_size", [1, 2, 12])
def test_other_strides_are_an_error(patch_size: int) -> None:
    with pytest.raises(UserError, match=f"patch_size: {patch_size} is not allowed"):
        FAMILY.miniature(TINY.model_copy(update={"patch_size": patch_size}), TEXTS)
