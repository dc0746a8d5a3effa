"""The formula of kept activations against the bytes that autograd really keeps, family by family, at a middle size."""

from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model

from radcap.adapt.strategies import Targets, resolve_targets
from radcap.models.family import Module, get_family
from radcap.plan import memory, sizes
from radcap.plan.activations import AdapterOptions, activation_bytes, adapter_bytes, base_bytes, checkpointed_bytes
from radcap.plan.positions import Positions, positions
from tests.models_for_tests import PARAMS

BATCH = 2
# The formula leaves out what grows with no width: masks, rotary tables, norms' scales.
WITHIN = 1.1
IMAGE = 299
TEXT = {"hidden_size": 256, "intermediate_size": 688, "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 300}  # fmt: skip
VISION = {"hidden_size": 128, "intermediate_size": 512, "num_hidden_layers": 4, "num_attention_heads": 4}
QWEN_IDS = {"image_token_id": IMAGE, "video_token_id": 298, "vision_start_token_id": 297, "vision_end_token_id": 296}
QWEN_TEXT = TEXT | {"rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [8, 12, 12]}}


def tokens(images: int, text: int = 64) -> dict[str, torch.Tensor]:
    """So many image tokens among text, in a batch of which nothing is padding."""
    ids = torch.randint(0, 290, (BATCH, images + text))
    ids[:, 5 : 5 + images] = IMAGE
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def pixels(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.bfloat16)


def llava() -> tuple[dict[str, Any], dict[str, Any], Positions]:
    tree = {
        "image_token_index": IMAGE,
        "text_config": TEXT | {"num_key_value_heads": 4},
        "vision_config": VISION | {"image_size": 224},
    }
    return tree, tokens(256) | {"pixel_values": pixels(BATCH, 3, 224, 224)}, Positions(257, 256, 0, 320, 0)


def moondream() -> tuple[dict[str, Any], dict[str, Any], Positions]:
    vision = VISION | {"image_size": 224, "patch_size": 14, "hidden_act": "gelu_pytorch_tanh", "vision_use_head": False}
    tree = {
        "projection_size": 1024,
        "text_config": TEXT | {"num_key_value_heads": 4},
        "vision_config": vision,
    }
    return tree, tokens(256) | {"pixel_values": pixels(BATCH, 1, 3, 224, 224)}, Positions(256, 256, 0, 320, 0)


def smolvlm() -> tuple[dict[str, Any], dict[str, Any], Positions]:
    tree = {
        "image_token_id": IMAGE,
        "scale_factor": 2,
        "text_config": TEXT,
        "vision_config": VISION | {"image_size": 256},
    }
    return tree, tokens(128) | {"pixel_values": pixels(BATCH, 2, 3, 256, 256)}, Positions(512, 128, 0, 192, 0)


def idefics() -> tuple[dict[str, Any], dict[str, Any], Positions]:
    vision = {"embed_dim": 128, **{k: v for k, v in VISION.items() if k != "hidden_size"}}
    perceiver = {"resampler_depth": 2, "resampler_head_dim": 32, "resampler_n_heads": 4, "resampler_n_latents": 16}
    tree = TEXT | {"cross_layer_interval": 2, "vision_config": vision, "perceiver_config": perceiver}
    del tree["num_key_value_heads"]
    ids = torch.randint(0, 290, (BATCH, 128))
    inputs = {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "image_attention_mask": torch.ones(BATCH, 128, 1, dtype=torch.long),
    }
    return tree, inputs | {"pixel_values": pixels(BATCH, 1, 3, 224, 224)}, Positions(257, 16, 273, 128, 0)


def qwen(vision: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any], Positions]:
    inputs = tokens(144)
    ids = inputs["input_ids"]
    ids[:, 4], ids[:, 149] = 297, 296
    patches = {"pixel_values": pixels(BATCH * 576, 1176), "image_grid_thw": torch.tensor([[1, 24, 24]] * BATCH)}
    tree = QWEN_IDS | {"text_config": QWEN_TEXT, "vision_config": {"depth": 4, "num_heads": 4} | vision}
    return tree, inputs | patches | {"mm_token_type_ids": (ids == IMAGE).int()}, Positions(576, 144, 0, 208, 0)


CASES = {
    "llava_1_5_7b": llava,
    "idefics_9b": idefics,
    "qwen2_vl_2b": lambda: qwen({"embed_dim": 128, "hidden_size": 256}),
    "qwen2_5_vl_3b": lambda: qwen(
        {"hidden_size": 128, "out_hidden_size": 256, "intermediate_size": 344, "fullatt_block_indexes": [3]}
    ),
    "moondream2": moondream,
    "smolvlm_500m": smolvlm,
}


def shrunk(key: str, changes: dict[str, Any]) -> dict[str, Any]:
    tree = sizes.full_size(key)
    return {
        name: tree.get(name, {}) | value if isinstance(value := changes.get(name, old), dict) else value
        for name, old in {**tree, **changes}.items()
    }


def measured(model: Any, inputs: dict[str, Any]) -> int:
    return memory.counted_activations(model, inputs | {"use_cache": False, "logits_to_keep": 1})


@pytest.mark.parametrize(("strategy", "dora"), [("published", False), ("targeted", True), ("extended", False)])
@pytest.mark.parametrize("key", CASES)
def test_the_formula_is_what_autograd_keeps(key: str, strategy: str, dora: bool) -> None:
    torch.manual_seed(0)
    changes, inputs, where = CASES[key]()
    block = PARAMS.models[key]
    adapter = get_family(block.family)
    model = adapter.build(adapter.config(shrunk(key, changes))).to(torch.bfloat16)
    inventory = adapter.inventory(model)
    assert block.published is not None
    chosen = resolve_targets(strategy, inventory, published=block.published, vision_tower=True)
    config = LoraConfig(r=8, lora_dropout=0.0, use_dora=dora, target_modules=list(chosen.lora))
    kept = activation_bytes(
        inventory, chosen, AdapterOptions(8, 0.0, dora), config=model.config, positions=where, batch=BATCH, element=2
    )
    assert 1 / WITHIN < sum(kept.values()) / measured(get_peft_model(model, config), inputs) < WITHIN
    # Qwen's published rows adapt the language model alone: the frozen tower keeps nothing.
    assert ("vision" in kept) == any(
        name in chosen.lora for name in (m.name for m in inventory if m.component == "vision")
    )


def test_dropout_keeps_a_mask() -> None:
    module = Module("gate_proj", "language", "gate", 960, 2560, 960 * 2560)
    without, with_mask = (adapter_bytes(module, AdapterOptions(8, rate), element=2) for rate in (0.0, 0.1))
    assert with_mask - without == module.inputs


def test_checkpointing_keeps_layers_inputs_and_one_layer() -> None:
    layers = [Module(f"{i}.q_proj", "language", "query", 16, 16, 256) for i in range(4)]
    where = Positions(vision=0, connector=0, context=0, language=10, label=0)
    short = checkpointed_bytes({"language": 8000.0, "head": 5.0}, layers, positions=where, batch=2, element=2)
    assert short == 4 * 16 * 10 * 2 * 2 + 8000 / 4 + 5


def test_the_heads_outputs_are_told_as_logits() -> None:
    head = Module("lm_head", "head", "linear", 16, 100, 1600)
    assert base_bytes(head, element=2, norm=4, activation=1) == 0
    chosen = Targets(lora=(), full=("lm_head",))
    where = Positions(vision=0, connector=0, context=0, language=10, label=3)
    kept = activation_bytes([head], chosen, AdapterOptions(8, 0.0), config=None, positions=where, batch=2, element=2)
    assert kept == {"head": 2 * 3 * 16 * 2}


@pytest.mark.parametrize(
    ("key", "image", "language"),
    [
        ("qwen2_vl_2b", {"max_pixels": 28 * 28 * 64}, 64),
        ("smolvlm_500m", {"do_image_splitting": False, "size": {"longest_edge": 2048}}, 64 + 3),
        ("llava_mistral_7b", {"image_grid_pinpoints": [[336, 672]]}, 24 * 49 + 576),
    ],
)
def test_image_settings_save_positions(key: str, image: dict[str, Any], language: int) -> None:
    config = get_family(PARAMS.models[key].family).config(sizes.full_size(key))
    assert positions(config, prompt="", caption_tokens=0, image=image).language == language


@pytest.mark.parametrize(
    ("key", "picture"),
    # In the tower, in the connector, in the language model: as the processors of the published models make them.
    [
        ("llava_1_5_7b", (577, 576, 576)),
        ("llava_mistral_7b", (5 * 577, 5 * 576, 2928)),
        ("idefics_9b", (257, 64, 3)),
        ("qwen2_vl_2b", (1296, 324, 324)),
        ("moondream2", (729, 729, 729)),
        ("smolvlm_500m", (17 * 1024, 17 * 64, 17 * 64 + 40)),
    ],
)
def test_positions_of_a_picture(key: str, picture: tuple[int, int, int]) -> None:
    config = get_family(PARAMS.models[key].family).config(sizes.full_size(key))
    image = PARAMS.models[key].image
    found = positions(config, prompt="<image>Describe it.", caption_tokens=100, image={} if image == "none" else image)
    assert (found.vision, found.connector, found.language - 104, found.label) == (*picture, 100)
