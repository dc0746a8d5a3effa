"""Adapters: what trains is what the strategy names; saved, reloaded and merged they give the same logits."""

from pathlib import Path

import pytest
import torch

from radcap.adapt.audit import audit
from radcap.adapt.lora import add_lora
from radcap.adapt.saved import load_tuned, save_tuned
from radcap.adapt.strategies import Targets
from radcap.errors import UserError
from radcap.models import base
from tests.models.test_base import logits
from tests.models_for_tests import KEYS, LORA_KEYS, PARAMS, fresh

STRATEGIES = ("published", "targeted", "extended", "hybrid")


def adapted(key: str, strategy: str):
    loaded = fresh(key)
    lora = PARAMS.lora.model_copy(update={"strategy": strategy, "r": 4, "alpha": 8})
    trainee, chosen = add_lora(loaded, lora, PARAMS.models[key].published)
    return loaded, trainee, chosen


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("key", LORA_KEYS)
def test_the_audit_counts_by_formula(key: str, strategy: str) -> None:
    sizes = {m.name: m for m in fresh(key).family.inventory(fresh(key).model)}
    linear = {n: m for n, m in fresh(key).model.named_modules() if isinstance(m, torch.nn.Linear)}
    loaded, trainee, chosen = adapted(key, strategy)
    report = audit(loaded.family, trainee, variant=strategy, chosen=chosen)
    # A LoRA adapter of rank 4 has 4 * (inputs + outputs) parameters.
    expected = sum(4 * (linear[n].in_features + linear[n].out_features) for n in chosen.lora)
    expected += sum(sizes[n].parameters for n in chosen.full)
    assert report["trained"] == expected
    assert report["total"] == sum(p.numel() for p in fresh(key).model.parameters())
    trains = {c for c, counts in report["components"].items() if counts["trained"]}
    assert trains == {sizes[n].component for n in (*chosen.lora, *chosen.full)}


def test_the_audit_fails_on_a_module_outside_the_strategy() -> None:
    loaded, trainee, chosen = adapted("smolvlm_500m", "targeted")
    with pytest.raises(AssertionError, match="against the strategy"):
        audit(loaded.family, trainee, variant="targeted", chosen=Targets(chosen.lora[1:], chosen.full))


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("key", LORA_KEYS)
def test_saved_reloaded_and_merged_gives_the_same_logits(key: str, strategy: str, tmp_path: Path) -> None:
    base.save_miniature(fresh(key), tmp_path / "base", family_name=PARAMS.models[key].family)
    loaded, trainee, _ = adapted(key, strategy)
    untouched = logits(base.load(tmp_path / "base", dtype="float32"), key)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in trainee.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.05)
    save_tuned(loaded, trainee, tmp_path / "tuned", base_folder=tmp_path / "base")
    expected = logits(base.Loaded(loaded.family, trainee, loaded.processor), key)
    reloaded = load_tuned(tmp_path / "tuned", tmp_path / "base", dtype="float32")
    assert torch.allclose(logits(reloaded, key), expected, atol=1e-4)
    assert not torch.allclose(untouched, expected, atol=1e-2)


def test_an_adapter_of_another_shape_is_an_error(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    key = "smolvlm_500m"
    base.save_miniature(fresh(key), tmp_path / "base", family_name="smolvlm")
    loaded, trainee, _ = adapted(key, "targeted")
    save_tuned(loaded, trainee, tmp_path / "tuned", base_folder=tmp_path / "base")
    stored = load_file(tmp_path / "tuned" / "adapter_model.safetensors")
    stored.pop(min(stored))
    save_file(stored, tmp_path / "tuned" / "adapter_model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"the adapter does not fit its base \(1 keys"):
        load_tuned(tmp_path / "tuned", tmp_path / "base", dtype="float32")


def test_fully_tuned_weights_save_and_reload(tmp_path: Path) -> None:
    key = "vision_gpt2"
    assert PARAMS.models[key].tuning == "full"
    assert set(KEYS) == {*LORA_KEYS, key}
    base.save_miniature(fresh(key), tmp_path / "base", family_name=key)
    loaded = fresh(key)
    report = audit(loaded.family, loaded.model, variant="full", chosen=None)
    assert report["trained"] == report["total"]
    assert report["components"].keys() == {"vision", "connector", "embeddings", "language", "head"}
    with torch.no_grad():
        next(loaded.model.parameters()).add_(0.1)
    save_tuned(loaded, loaded.model, tmp_path / "tuned", base_folder=tmp_path / "base")
    reloaded = load_tuned(tmp_path / "tuned", tmp_path / "base", dtype="float32")
    assert torch.allclose(logits(reloaded, key), logits(loaded, key), atol=1e-6)
