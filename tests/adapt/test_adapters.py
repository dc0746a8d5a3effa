"""Adapters train what their strategy names. Saved, reloaded and merged, they give the same logits."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from peft import PeftModel

from radcap.adapt.audit import AuditError, audit
from radcap.adapt.lora import add_lora, four_bit_options, is_tied
from radcap.adapt.storage import load_fine_tuned, save_fine_tuned
from radcap.adapt.strategies import Targets, trained_components
from radcap.caption.generate import generate_captions
from radcap.caption.search import DecodingOptions
from radcap.errors import UserError
from radcap.export import export
from radcap.models import base
from radcap.models.inputs import fill_template
from tests.caption.test_generate import rows  # noqa: F401
from tests.models.test_base import logits
from tests.models_for_tests import KEYS, LORA_KEYS, PARAMS, fresh

STRATEGIES = ("published", "targeted", "extended", "hybrid")


def adapted(key: str, strategy: str, **options):
    loaded = fresh(key)
    lora = PARAMS.adapters.model_copy(update={"strategy": strategy, "r": 4, "alpha": 8, **options})
    model, targets = add_lora(loaded, lora, PARAMS.models[key].published)
    return loaded, model, targets


def components(key: str, strategy: str) -> frozenset[str]:
    return trained_components(strategy, PARAMS.models[key].published, vision_tower=True)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("key", LORA_KEYS)
def test_the_audit_counts_parameters(key: str, strategy: str) -> None:
    base_model = fresh(key)
    sizes = {m.name: m for m in base_model.family.inventory(base_model.model)}
    loaded, model, targets = adapted(key, strategy)
    report = audit(loaded.family, model, variant=strategy, targets=targets, components=components(key, strategy))
    # A LoRA adapter of rank 4 has 4 * (inputs + outputs) parameters. A weight that two modules share counts once.
    expected = sum(4 * (sizes[n].inputs + sizes[n].outputs) for n in targets.lora)
    full = targets.full[:1] if is_tied(base_model) else targets.full
    expected += sum(sizes[n].parameters for n in full)
    assert report["trained"] == expected
    assert report["total"] == sum(p.numel() for p in base_model.model.parameters())
    assert (report["r"], report["alpha"], report["scaling"]) == (4, 8, 2.0)
    assert report["lora_modules"] == list(targets.lora)
    trainable = {c for c, counts in report["components"].items() if counts["trained"]}
    assert trainable == components(key, strategy) - (
        {"head"} if strategy == "hybrid" and is_tied(base_model) else set()
    )


def test_published_rank_and_scaling_are_those_of_the_model() -> None:
    for key in LORA_KEYS:
        row = PARAMS.models[key].published
        loaded, model, targets = adapted(key, "published", r="published", alpha="published")
        report = audit(
            loaded.family, model, variant="published", targets=targets, components=components(key, "published")
        )
        assert (report["r"], report["alpha"]) == (row.r, row.alpha)
        assert report["scaling"] == row.alpha / row.r


@pytest.mark.parametrize(("option", "scaling"), [("rslora", 4.0), ("dora", 2.0)])
def test_rslora_and_dora(option: str, scaling: float) -> None:
    loaded, model, targets = adapted("smolvlm_500m", "targeted", **{option: True})
    report = audit(
        loaded.family, model, variant="x", targets=targets, components=components("smolvlm_500m", "targeted")
    )
    assert report["scaling"] == scaling
    magnitudes = [name for name, _ in model.named_parameters() if "magnitude" in name]
    assert bool(magnitudes) == (option == "dora")


MISTAKES = [
    (
        lambda targets: Targets(targets.lora[1:], ()),
        frozenset(),
        "1 modules differ from those of the strategy, first model",
    ),
    (lambda targets: targets, {"head"}, "nothing in head is trainable"),
    (lambda targets: targets, {"-vision"}, "vision must not be trainable"),
]


@pytest.mark.parametrize(("change", "other", "message"), MISTAKES, ids=[m for _, _, m in MISTAKES])
def test_the_audit_fails_when_the_model_differs_from_the_strategy(change, other, message: str) -> None:
    loaded, model, targets = adapted("smolvlm_500m", "targeted")
    names = (
        (components("smolvlm_500m", "targeted") | other) - {"-vision"} - ({"vision"} if "-vision" in other else set())
    )
    with pytest.raises(AuditError, match=f"audit of strategy 'targeted': {message}"):
        audit(loaded.family, model, variant="targeted", targets=change(targets), components=frozenset(names))


def change_trainable(model) -> None:
    """Change the value of every trainable parameter."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.05)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("key", LORA_KEYS)
def test_saved_reloaded_and_merged_gives_the_same_logits(key: str, strategy: str, tmp_path: Path) -> None:
    """Loaded by radcap, loaded by peft on the folder of the base, and exported as merged weights."""
    base.save_miniature(fresh(key), tmp_path / "base", family_name=PARAMS.models[key].family)
    loaded, model, _ = adapted(key, strategy)
    was_tied = is_tied(loaded)
    untouched = logits(base.load(tmp_path / "base", dtype="float32"), key)
    change_trainable(model)
    save_fine_tuned(loaded, model, tmp_path / "tuned", base_folder=tmp_path / "base")
    expected = logits(base.LoadedModel(loaded.family, model, loaded.processor), key)
    assert not torch.allclose(untouched, expected, atol=1e-2)

    by_peft = PeftModel.from_pretrained(base.load(tmp_path / "base", dtype="float32").model, tmp_path / "tuned")
    assert torch.allclose(logits(base.LoadedModel(loaded.family, by_peft, loaded.processor), key), expected, atol=1e-4)
    merged = load_fine_tuned(tmp_path / "tuned", tmp_path / "base", dtype="float32")
    assert torch.allclose(logits(merged, key), expected, atol=1e-4)
    assert is_tied(merged) == was_tied
    export(tmp_path / "tuned", tmp_path / "base", tmp_path / "merged", merged=True, dtype="float32")
    exported = base.load_weights(loaded.family, str(tmp_path / "merged"), revision=None, dtype="float32")
    assert torch.allclose(logits(exported, key), expected, atol=1e-4)


@pytest.mark.parametrize("key", LORA_KEYS)
def test_exported_weights_give_the_same_captions_as_the_adapter(key: str, tmp_path: Path, rows) -> None:  # noqa: F811
    base.save_miniature(fresh(key), tmp_path / "base", family_name=PARAMS.models[key].family)
    loaded, model, _ = adapted(key, "hybrid")
    change_trainable(model)
    save_fine_tuned(loaded, model, tmp_path / "tuned", base_folder=tmp_path / "base")
    export(tmp_path / "tuned", tmp_path / "base", tmp_path / "merged", merged=True, dtype="float32")
    options = {"variant": "plain", "batch_size": 2, "decoding": DecodingOptions(beams=1, max_new_tokens=8)}
    prompts = [fill_template(PARAMS.models[key].template, "Describe it.")] * len(rows)
    adapter = load_fine_tuned(tmp_path / "tuned", tmp_path / "base", dtype="float32")
    exported = base.load_weights(loaded.family, str(tmp_path / "merged"), revision=None, dtype="float32")
    by_exported, by_adapter = (
        generate_captions(lambda it=it: it, rows, prompts, **options) for it in (exported, adapter)
    )
    assert by_exported == by_adapter


def test_adapters_name_a_published_base_by_its_checkpoint(tmp_path: Path) -> None:
    """So that peft and other tools find it. The base of a miniature is named by its folder."""
    import json

    key = "smolvlm_500m"
    base.save_miniature(fresh(key), tmp_path / "base", family_name="smolvlm")
    loaded, model, _ = adapted(key, "targeted")
    record = json.loads((tmp_path / "base" / base.RECORD).read_text())
    for checkpoint, revision, place in ((None, None, str(tmp_path / "base")), ("some/model", "abc", "some/model")):
        (tmp_path / "base" / base.RECORD).write_text(
            json.dumps(record | {"checkpoint": checkpoint, "revision": revision})
        )
        save_fine_tuned(loaded, model, tmp_path / "tuned", base_folder=tmp_path / "base")
        config = json.loads((tmp_path / "tuned/adapter_config.json").read_text())
        assert (config["base_model_name_or_path"], config["revision"]) == (place, revision)


def test_the_audit_counts_four_bit_weights_by_their_shape() -> None:
    loaded, model, targets = adapted("smolvlm_500m", "targeted")
    options = {"variant": "x", "targets": targets, "components": components("smolvlm_500m", "targeted")}
    expected = audit(loaded.family, model, **options)["total"]
    frozen = next(p for n, p in model.named_parameters() if "base_layer.weight" in n)
    # As bitsandbytes stores them: two weights per byte, and the shape separately.
    frozen.quant_state = SimpleNamespace(shape=frozen.shape)
    frozen.data = torch.zeros(frozen.numel() // 2, 1)
    assert audit(loaded.family, model, **options)["total"] == expected


def test_impossible_exports_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(UserError, match=r"nothing not found; `dvc repro finetune@nothing` makes it"):
        export(tmp_path / "nothing", tmp_path, tmp_path / "out", merged=True, dtype="float32")
    with pytest.raises(UserError, match="exists already; name another folder with --out"):
        export(tmp_path / "there", tmp_path, tmp_path / "there", merged=False, dtype="float32")


def test_four_bit_weights_are_refused_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match=r"^lora.quantize: '4bit' needs a CUDA GPU, but there is none"):
        four_bit_options("bfloat16")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr("radcap.adapt.lora.find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"^lora.quantize: '4bit' needs the package bitsandbytes"):
        four_bit_options("bfloat16")


def test_an_adapter_of_another_shape_is_an_error(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    key = "smolvlm_500m"
    base.save_miniature(fresh(key), tmp_path / "base", family_name="smolvlm")
    loaded, model, _ = adapted(key, "targeted")
    save_fine_tuned(loaded, model, tmp_path / "tuned", base_folder=tmp_path / "base")
    stored = load_file(tmp_path / "tuned" / "adapter_model.safetensors")
    stored.pop(min(stored))
    save_file(stored, tmp_path / "tuned" / "adapter_model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"the adapter does not fit its base \(1 keys"):
        load_fine_tuned(tmp_path / "tuned", tmp_path / "base", dtype="float32")


@pytest.mark.parametrize("key", [key for key in KEYS if key not in LORA_KEYS])
def test_fully_trained_weights_are_saved_and_reloaded(key: str, tmp_path: Path) -> None:
    assert PARAMS.models[key].tuning == "full"
    base.save_miniature(fresh(key), tmp_path / "base", family_name=PARAMS.models[key].family)
    loaded = fresh(key)
    report = audit(loaded.family, loaded.model, variant="full", targets=None, components=None)
    assert report["trained"] == report["total"]
    assert report["components"].keys() == {"vision", "connector", "embeddings", "language", "head"}
    assert (report["r"], report["alpha"], report["scaling"]) == (None, None, None)
    with torch.no_grad():
        next(loaded.model.parameters()).add_(0.1)
    save_fine_tuned(loaded, loaded.model, tmp_path / "tuned", base_folder=tmp_path / "base")
    reloaded = load_fine_tuned(tmp_path / "tuned", tmp_path / "base", dtype="float32")
    assert torch.allclose(logits(reloaded, key), logits(loaded, key), atol=1e-6)
