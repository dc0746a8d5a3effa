"""Bytes of weights, files and training, against real tensors and files where there are some."""

from pathlib import Path
from typing import Any

import pytest
import torch

from radcap.adapt.lora import add_lora
from radcap.adapt.storage import save_fine_tuned
from radcap.models import base
from radcap.models.family import Module, get_family
from radcap.plan import memory, sizes
from radcap.settings import Lora
from tests.models_for_tests import PARAMS, fresh


def small() -> sizes.Sizes:
    """A linear layer with a bias, embeddings, a head, and 7 parameters of norms."""
    inventory = (
        Module("embed", "embeddings", "embedding", 100, 8, 800),
        Module("q", "language", "query", 8, 8, 72),
        Module("head", "head", "linear", 8, 100, 800),
    )
    return sizes.Sizes(None, inventory, {"language": 79, "embeddings": 800, "head": 800}, frozenset())


def test_weights() -> None:
    assert memory.weight_bytes(small(), dtype="bfloat16", quantized=False) == 2 * 1679
    assert round(memory.NF4_BITS, 3) == 4.127
    # Only the linear layer's 64 weights are in 4 bits.
    assert memory.weight_bytes(small(), dtype="bfloat16", quantized=True) == round(64 * 4.127 / 8) + 4 * (1679 - 64)


def test_trained_weights_take_sixteen_bytes_and_checkpointing_replaces_activations() -> None:
    found = memory.estimate(weights=1000, trained=10, logits=5, activations=300.0, checkpointed=20.0).as_dict()
    assert found == {
        "weights": 1000, "trained": 40, "gradients": 40, "moments": 80, "logits": 5, "activations": 300, "checkpointed": 20,
        "total": 1465, "total_checkpointed": 1185,
    }  # fmt: skip
    assert memory.estimate(weights=0, trained=0, logits=0, activations=1.0).as_dict()["total_checkpointed"] is None


def test_logits() -> None:
    assert memory.logit_bytes(small(), labels=3, element=2) == 3 * 100 * (2 + 4 + 4 + 4)


@pytest.mark.parametrize("strategy", ["targeted", "hybrid"])
@pytest.mark.parametrize("key", ["smolvlm_500m", "qwen2_vl_2b"])
def test_an_adapter_is_as_large_as_told(tmp_path: Path, key: str, strategy: str) -> None:
    loaded, row = fresh(key), PARAMS.models[key].published
    assert row is not None
    counted = sizes.count_parameters(loaded.family, loaded.model)
    lora = Lora(**PARAMS.lora.model_dump() | {"strategy": strategy, "r": 64, "dropout": 0.0})
    model, chosen = add_lora(loaded, lora, row)
    base.save_miniature(fresh(key), tmp_path / "base", family_name=PARAMS.models[key].family)
    save_fine_tuned(loaded, model, tmp_path, base_folder=tmp_path / "base")
    real = (tmp_path / "adapter_model.safetensors").stat().st_size
    assert memory.disk_bytes(counted, chosen, r=64, dora=False) == pytest.approx(real, rel=0.01)


def inputs(model: Any, ids: str, device: str) -> dict[str, torch.Tensor]:
    side = model.config.encoder.image_size
    return {
        "pixel_values": torch.zeros(2, 3, side, side, device=device),
        ids: torch.zeros(2, 16, dtype=torch.long, device=device),
        "decoder_attention_mask": torch.zeros(2, 1, 16, 16, device=device),
    }


@pytest.mark.parametrize("key", [key for key, model in PARAMS.models.items() if model.tuning == "full"])
def test_the_meta_device_counts_what_the_cpu_keeps(key: str) -> None:
    real = fresh(key).model
    adapter = get_family(PARAMS.models[key].family)
    with torch.device("meta"):
        empty = adapter.build(real.config)
    counted = memory.counted_activations(empty, inputs(empty, adapter.ids_name, "meta"))
    # The CPU's attention keeps other scraps, its dropout wider masks.
    assert counted == pytest.approx(memory.counted_activations(real, inputs(real, adapter.ids_name, "cpu")), rel=0.15)
