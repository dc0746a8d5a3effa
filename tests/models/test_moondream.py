"""MoonDream2 against vectors of the published code, and its checkpoints in their own layout."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from radcap.errors import UserError
from radcap.models import base
from radcap.models.families.moondream import FAMILY
from radcap.models.families.moondream.config import MoondreamConfig
from radcap.models.families.moondream.model import Moondream
from radcap.models.families.moondream.processor import Processor, cut, tiled_size
from radcap.models.families.moondream.weights import published
from radcap.models.inputs import collate, encode
from radcap.settings import Miniature
from radcap.train.loss import caption_loss
from tests.conftest import png
from tests.models_for_tests import TEXTS

GOLDEN = Path(__file__).parent / "golden" / "moondream"
VARIANTS = json.loads((GOLDEN / "cases.json").read_text())
CASES = {case["id"]: case for variant in VARIANTS["variants"].values() for case in variant["cases"]}
IMAGE_CASES = [name for name, case in CASES.items() if "pixels" in case]
TEXT_CASES = [name for name, case in CASES.items() if "input_ids" in case]
SIDE = 42
# No prompt and no answer of the vectors holds it.
IMAGE = 0
PROMPT = "\n\nQuestion: Describe it.\n\nAnswer:"
SIZE = Miniature(
    model_type="moondream",
    text_type="phi",
    image_size=48,
    patch_size=16,
    vision_width=32,
    vision_layers=2,
    width=48,
    layers=2,
    heads=4,
    key_value_heads=4,
    vocabulary=320,
)


def publish(folder: Path, tensors: dict[str, torch.Tensor], *, shards: int = 1, **config: object) -> None:
    """Write a checkpoint as published ones are; their config.json names code, which nobody runs."""
    folder.mkdir(parents=True, exist_ok=True)
    code = {"AutoConfig": "configuration_moondream.MoondreamConfig", "AutoModelForCausalLM": "moondream.Moondream"}
    tree = {"architectures": ["Moondream"], "auto_map": code, "model_type": "moondream1", **config}
    (folder / "config.json").write_text(json.dumps(tree))
    names = sorted(tensors)
    files = {f"model-{n + 1:05}-of-{shards:05}.safetensors": names[n::shards] for n in range(shards)}
    if shards == 1:
        files = {"model.safetensors": names}
    else:
        weight_map = {name: file for file, held in files.items() for name in held}
        (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    for file, held in files.items():
        save_file({name: tensors[name].contiguous() for name in held}, folder / file)


VISUAL = "vision_encoder.encoder.model.visual."
TO_PUBLISHED = {
    "vision_model.embeddings.patch_embedding.": f"{VISUAL}patch_embed.linear.",
    "vision_model.embeddings.position_embedding.weight": f"{VISUAL}pos_embed",
    "vision_model.post_layernorm.": f"{VISUAL}norm.",
    "vision_model.encoder.layers.": f"{VISUAL}blocks.",
    "projection.": "vision_encoder.projection.mlp.",
    "text_model.model.embed_tokens.": "text_model.transformer.embd.wte.",
    "text_model.model.final_layernorm.": "text_model.lm_head.ln.",
    "text_model.model.layers.": "text_model.transformer.h.",
    "text_model.lm_head.": "text_model.lm_head.linear.",
}
INSIDE_VISION = {"self_attn.out_proj": "attn.proj", "self_attn.q_proj": "attn.qkv", "layer_norm": "norm"}
INSIDE_TEXT = {"self_attn.dense": "mixer.out_proj", "self_attn.q_proj": "mixer.Wqkv", "input_layernorm": "ln"}


def as_published(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """This model's weights under the published names, with query, key and value in one."""
    out = {}
    for name, tensor in state.items():
        if ".k_proj." in name or ".v_proj." in name:
            continue
        if ".q_proj." in name:
            tensor = torch.cat([state[name.replace(".q_", f".{part}_")] for part in "qkv"])
        start = next(mine for mine in TO_PUBLISHED if name.startswith(mine))
        theirs = TO_PUBLISHED[start] + name.removeprefix(start)
        for mine, other in (INSIDE_VISION if name.startswith("vision") else INSIDE_TEXT).items():
            theirs = theirs.replace(mine, other)
        out[theirs] = tensor.flatten(1) if tensor.ndim == 4 else tensor
    out[f"{VISUAL}pos_embed"] = out[f"{VISUAL}pos_embed"].unsqueeze(0)
    return out


@pytest.fixture(scope="module")
def golden(tmp_path_factory):
    """The vectors' models, loaded as published checkpoints."""
    text = json.loads((GOLDEN / "config.json").read_text())["text"]
    vision = {"hidden_size": 32, "intermediate_size": 56, "num_hidden_layers": 2, "image_size": SIDE}
    sizes = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    loaded = {}
    for variant in ("x1", "x2"):
        folder = tmp_path_factory.mktemp(variant)
        tensors = load_file(GOLDEN / f"weights_{variant}.safetensors")
        config = {"vision_config": vision, "text_config": {name: text[name] for name in sizes}, "eos_token_id": 2}
        publish(folder, tensors, **config)
        loaded[variant] = FAMILY.load_model(str(folder), revision=None, dtype="float32").eval()
        loaded[variant].config.image_token_id = IMAGE
    return loaded


@pytest.fixture(scope="module")
def tensors():
    return load_file(GOLDEN / "tensors.safetensors")


def example(case: dict, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    tiles, grid = cut(tensors[case["pixels"]][case["batch_index"]], side=SIDE)
    ids = torch.tensor([[1, *[IMAGE] * 9, *case["prompt_ids_after_image"]]])
    grids = {"image_grids": torch.tensor([grid])} if case["id"].startswith("x2") else {}
    return {"input_ids": ids, "pixel_values": tiles.unsqueeze(0), **grids}


def near(found: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", IMAGE_CASES)
@torch.inference_mode()
def test_images_as_in_the_published_code(golden, tensors, name: str) -> None:
    case, model = CASES[name], golden[name[:2]]
    inputs, index, image = example(case, tensors), case["batch_index"], case["pixels"].removesuffix(".pixels")
    seen = model.get_image_features(inputs["pixel_values"], inputs.get("image_grids"))
    near(seen.last_hidden_state[0], tensors[f"{image}.projection_input"][index])
    near(seen.pooler_output[0], tensors[f"{image}.projected"][index])
    near(model(**inputs).logits[0], tensors[case["expected_logits"]])
    made = model.generate(**inputs, max_new_tokens=8, do_sample=False)
    assert made[0, inputs["input_ids"].shape[1] :].tolist() == case["expected_greedy_8"]


@pytest.mark.parametrize("image", sorted({CASES[name]["pixels"].removesuffix(".pixels") for name in IMAGE_CASES}))
@torch.inference_mode()
def test_the_tower_as_in_the_published_code(golden, tensors, image: str) -> None:
    tiles = [cut(pixels, side=SIDE)[0] for pixels in tensors[f"{image}.pixels"]]
    order = torch.cat([*(t[:1] for t in tiles), *(t[1:] for t in tiles)])
    near(golden[image[:2]].vision_model(order).last_hidden_state, tensors[f"{image}.encoder_features"])
    if image == "x2.wide":
        near(order, tensors["x2.wide.encoder_input"])


@pytest.mark.parametrize("name", TEXT_CASES)
@torch.inference_mode()
def test_text_as_in_the_published_code(golden, tensors, name: str) -> None:
    ids = torch.tensor(CASES[name]["input_ids"]).reshape(-1, tensors[f"{name}.logits"].shape[-2])
    mask = torch.tensor(CASES[name].get("attention_mask", torch.ones_like(ids).tolist()))
    found = golden[name[:2]](input_ids=ids, attention_mask=mask).logits
    near(found[mask.bool()], tensors[f"{name}.logits"].reshape(found.shape)[mask.bool()])


@pytest.mark.parametrize("variant", ["x1", "x2"])
@torch.inference_mode()
def test_a_batch_gives_what_each_image_gives_alone(golden, tensors, variant: str) -> None:
    model, cases = golden[variant], [CASES[name] for name in IMAGE_CASES if name.startswith(variant)]
    single = [example(case, tensors) for case in cases]
    batch = collate(single, FAMILY, pad_id=2, side="left")
    options = {"max_new_tokens": 8, "do_sample": False, "pad_token_id": 2}
    made = model.generate(**batch, **options)[:, -8:]
    assert made.tolist() == [case["expected_greedy_8"] for case in cases]
    assert torch.equal(model.generate(**batch, **options, use_cache=False)[:, -8:], made)
    beams = model.generate(**batch, **options, num_beams=3)[:, -8:]
    alone = [model.generate(**inputs, **options, num_beams=3)[0, -8:] for inputs in single]
    assert torch.equal(beams, torch.stack(alone))
    assert torch.equal(model.generate(**batch, **options, cache_implementation="static")[:, -8:], made)
    logits = model(**batch).logits
    for row, inputs in zip(logits, single, strict=True):
        near(row[-inputs["input_ids"].shape[1] :], model(**inputs).logits[0])


@torch.inference_mode()
def test_the_tower_sees_an_image_once_for_all_beams_and_tokens(golden, tensors) -> None:
    seen = []
    hook = golden["x2"].vision_model.register_forward_hook(lambda module, inputs, _: seen.append(len(inputs[0])))
    inputs = example(CASES["x2.wide.0"], tensors)
    golden["x2"].generate(**inputs, max_new_tokens=4, num_beams=3, do_sample=False)
    hook.remove()
    assert seen == [3]


def test_every_prompt_needs_its_image_s_placeholders(golden, tensors) -> None:
    inputs = example(CASES["x1.square.0"], tensors)
    with pytest.raises(ValueError, match="must hold 9 image placeholders for its image; got a prompt with 8"):
        golden["x1"](**inputs | {"input_ids": inputs["input_ids"][:, 2:]})
    with pytest.raises(ValueError, match="got 2 prompts for 1 images"):
        golden["x1"](**inputs | {"input_ids": inputs["input_ids"].repeat(2, 1)})
    with pytest.raises(ValueError, match="an image needs input_ids"):
        golden["x1"](pixel_values=inputs["pixel_values"], inputs_embeds=torch.zeros(1, 12, 48))


@pytest.mark.parametrize(
    "case", VARIANTS["published_preprocess_size_selection"]["cases"], ids=lambda c: str(c["image_wh"])
)
def test_sizes_are_chosen_as_published(case: dict) -> None:
    assert tiled_size(*case["image_wh"], side=378) == tuple(case["resize_hw"])


def miniature(views: int) -> base.LoadedModel:
    torch.manual_seed(views)
    model, processor = FAMILY.miniature(SIZE, TEXTS)
    if views == 2:
        config = MoondreamConfig.from_dict(model.config.to_dict() | {"views": 2})
        model, processor = FAMILY.build(config), Processor(processor.tokenizer, config)
    return base.LoadedModel(FAMILY, model.eval(), processor)


@torch.inference_mode()
def logits(loaded: base.LoadedModel) -> torch.Tensor:
    examples = [encode(loaded, png(size=size), PROMPT)[0] for size in ((40, 32), (600, 300), (600, 600))]
    return loaded.model.eval()(**collate(examples, FAMILY, pad_id=0, side="left")).logits


def published_miniature(folder: Path, views: int, **options: int) -> base.LoadedModel:
    loaded = miniature(views)
    tree = loaded.model.config.to_dict()
    text = {name: value for name, value in tree["text_config"].items() if not name.endswith("token_id")}
    config = {"vision_config": tree["vision_config"], "text_config": text, "eos_token_id": tree["eos_token_id"]}
    publish(folder, as_published(loaded.model.state_dict()), **config, **options)
    FAMILY.save_processor(loaded.processor, str(folder))
    return loaded


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("views", [1, 2])
def test_published_and_own_layout_load_alike(tmp_path: Path, views: int, shards: int) -> None:
    original = published_miniature(tmp_path / "published", views, shards=shards)
    loaded = base.load_weights(FAMILY, str(tmp_path / "published"), revision=None, dtype="float32")
    assert loaded.model.config.views == loaded.processor.config.views == views
    assert torch.equal(logits(loaded), logits(original))
    base.save_miniature(loaded, tmp_path / "own", family_name="moondream")
    own, report = Moondream.from_pretrained(tmp_path / "own", output_loading_info=True)
    assert not any(report.values())
    assert own.generation_config.eos_token_id == original.processor.tokenizer.eos_token_id
    assert torch.equal(logits(base.load(tmp_path / "own", dtype="float32")), logits(original))


WRONG = {
    "missing": (
        lambda t: t.pop("text_model.transformer.h.1.mixer.Wqkv.bias"),
        "1 weights are missing, first text_model.transformer.h.1.mixer.Wqkv.bias",
    ),
    "unexpected": (lambda t: t.update(a=torch.ones(1), b=torch.ones(1)), "2 weights are unexpected, first a"),
    "misshaped": (
        lambda t: t.update({"text_model.lm_head.ln.bias": torch.ones(3)}),
        "1 weights are of another shape, first text_model.lm_head.ln.bias",
    ),
    "later release": (lambda t: t.pop("vision_encoder.projection.mlp.fc1.weight"), "no MoonDream2 of 2024"),
    "projection": (
        lambda t: t.update({"vision_encoder.projection.mlp.fc1.weight": torch.ones(192, 33)}),
        "has 33 inputs",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_checkpoint_is_one_clear_line(tmp_path: Path, name: str) -> None:
    published_miniature(tmp_path, 1)
    change, message = WRONG[name]
    tensors = load_file(tmp_path / "model.safetensors")
    change(tensors)
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match=message) as caught:
        base.load_weights(FAMILY, str(tmp_path), revision=None, dtype="float32")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("lost", ["model.safetensors", "config.json", "tokenizer.json"])
def test_an_incomplete_folder_is_one_clear_line(tmp_path: Path, lost: str) -> None:
    published_miniature(tmp_path, 1)
    (tmp_path / lost).unlink()
    with pytest.raises(UserError, match="cannot be loaded: ") as caught:
        base.load_weights(FAMILY, str(tmp_path), revision=None, dtype="float32")
    assert "\n" not in str(caught.value)


def test_a_half_downloaded_file_is_one_clear_line(tmp_path: Path) -> None:
    published_miniature(tmp_path, 1, shards=2)
    shard = tmp_path / "model-00002-of-00002.safetensors"
    shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.raises(UserError, match="model-00002-of-00002.safetensors is damaged"):
        base.load_weights(FAMILY, str(tmp_path), revision=None, dtype="float32")


def test_the_tokenizer_may_come_as_vocabulary_and_merges(tmp_path: Path) -> None:
    original = published_miniature(tmp_path, 1)
    rules = json.loads((tmp_path / "tokenizer.json").read_text())["model"]
    (tmp_path / "tokenizer.json").unlink()
    (tmp_path / "vocab.json").write_text(json.dumps(rules["vocab"]))
    (tmp_path / "merges.txt").write_text("\n".join(["#version: 0.2", *(" ".join(pair) for pair in rules["merges"])]))
    processor = FAMILY.load_processor(str(tmp_path), revision=None, image={})
    ids = processor.tokenizer(PROMPT + " " + TEXTS[0])["input_ids"]
    assert ids == original.processor.tokenizer(PROMPT + " " + TEXTS[0])["input_ids"] and len(ids) < len(TEXTS[0])


def test_marks_of_compiled_weights_and_region_models_are_left_aside(tmp_path: Path) -> None:
    original = published_miniature(tmp_path, 2)
    tensors = load_file(tmp_path / "model.safetensors")
    tensors = {name.replace("visual.", "visual._orig_mod."): tensor for name, tensor in tensors.items()}
    save_file({**tensors, "region_model.size_decoder.bias": torch.ones(2)}, tmp_path / "model.safetensors")
    loaded = base.load_weights(FAMILY, str(tmp_path), revision=None, dtype="float32")
    assert torch.equal(logits(loaded), logits(original))


def test_a_prompt_is_first_token_image_and_question() -> None:
    loaded = miniature(2)
    tokenizer, config = loaded.processor.tokenizer, loaded.model.config
    features, _ = encode(loaded, png(size=(600, 300)), PROMPT)
    assert features["pixel_values"].shape == (1, 3, 3, 48, 48) and features["image_grids"].tolist() == [[1, 2]]
    ids = features["input_ids"][0].tolist()
    assert ids[:10] == [tokenizer.bos_token_id, *[config.image_token_id] * 9]
    assert tokenizer.decode(ids[10:]) == PROMPT
    assert config.image_token_id == len(tokenizer) == config.text_config.vocab_size - 1
    assert tokenizer.decode(FAMILY.caption_ids(loaded.processor, "A nodule.")) == " A nodule."
    assert encode(miniature(1), png(size=(600, 300)), PROMPT)[0].keys() == {"input_ids", "pixel_values"}


def test_adapters_on_every_part_train_and_merge() -> None:
    from peft import LoraConfig, get_peft_model

    loaded = miniature(2)
    chosen = [
        m.name
        for m in FAMILY.inventory(loaded.model)
        if m.component in ("language", "vision", "connector") and m.kind != "embedding"
    ]
    tuned = get_peft_model(loaded.model, LoraConfig(r=2, target_modules=chosen, modules_to_save=["text_model.lm_head"]))
    examples = [
        encode(loaded, png(size=size), PROMPT, caption="A nodule.", max_caption_tokens=20)[0]
        for size in ((40, 32), (600, 300))
    ]
    batch = collate(examples, FAMILY, pad_id=0, side="right")
    labels = batch.pop("labels")
    caption_loss(tuned(**batch), labels).backward()
    trained = [name for name, p in tuned.named_parameters() if p.requires_grad]
    assert len(trained) == 2 * len(chosen) + 2
    lost = [
        n
        for n, p in tuned.named_parameters()
        if p.requires_grad and "lora_A" not in n and (p.grad is None or not p.grad.any())
    ]
    # a key's bias moves no attention, its adapter does
    assert not lost
    with torch.no_grad():
        for name, parameter in tuned.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
    adapted = logits(loaded)
    merged = base.LoadedModel(FAMILY, tuned.merge_and_unload(), loaded.processor)
    torch.testing.assert_close(logits(merged), adapted, atol=1e-4, rtol=0)


@pytest.fixture(scope="module")
def full_size():
    with torch.device("meta"):
        return {views: Moondream(MoondreamConfig(views=views)) for views in (1, 2)}


def test_the_published_configuration(full_size) -> None:
    model = full_size[1]
    generation = model.generation_config
    assert (generation.bos_token_id, generation.eos_token_id, generation.pad_token_id) == (50256,) * 3
    # The tokenizer has 50295 entries: no text holds the last row of the vocabulary.
    assert model.config.image_token_id == 51199 and model.config.positions == 729
    assert {views: m.num_parameters() for views, m in full_size.items()} == {1: 1_857_482_608, 2: 1_866_919_792}
    # What config.json says of a published checkpoint, and of a saved model.
    for name in ("moondream1", "moondream"):
        config = FAMILY.config({"model_type": name, "torch_dtype": "float16"})
        assert config.model_type == "moondream" and config.eos_token_id == config.text_config.eos_token_id == 50256
    assert {m.kind for m in FAMILY.inventory(model)} <= {
        "embedding",
        "query",
        "key",
        "value",
        "output",
        "fc1",
        "fc2",
        "linear",
    }


def test_adapter_sizes_at_full_size(full_size) -> None:
    found = {}
    for views, model in full_size.items():
        linear = [
            m
            for m in FAMILY.inventory(model)
            if m.component in ("language", "vision", "connector") and m.kind != "embedding"
        ]
        found[views] = 64 * sum(m.inputs + m.outputs for m in linear)
    assert found == {1: 92_657_664, 2: 92_731_392}


@pytest.mark.parametrize(("views", "total"), [(1, 74_422_272), (2, 74_496_000)])
def test_the_study_s_count_is_of_the_published_layout(full_size, views: int, total: int) -> None:
    """Rank 64 on proj, fc1, fc2, Wqkv, out_proj: query, key and value are in one there, and the tower's are left out."""
    places = {
        published(name, tuple(p.shape)) for name, p in full_size[views].named_parameters() if name.endswith(".weight")
    }
    shapes = {place.name: place.shape for place in places}
    hit = ("Wqkv", "out_proj", "fc1", "fc2", "proj")
    assert 64 * sum(sum(shape) for name, shape in shapes.items() if name.split(".")[-2] in hit) == total
