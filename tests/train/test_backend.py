"""Activation checkpointing keeps the gradients and runs a frozen tower once, forward; GPUs get deterministic kernels."""

import os
from collections import Counter

import pytest
import torch

from radcap.adapt.lora import add_lora
from radcap.models.inputs import encode, fill_template
from radcap.settings import PublishedRow
from radcap.train.backend import enable_activation_checkpointing, use_deterministic_kernels
from radcap.train.examples import collate_examples
from radcap.train.loss import caption_loss
from radcap.train.unfreezing import freeze_components
from tests.conftest import png
from tests.models_for_tests import KEYS, PARAMS, fresh

LANGUAGE = PublishedRow(r=4, alpha=8, targets=("language.query", "language.value"))
# What comes before the language model. IDEFICS' gated layers belong to its connector but lie within the language model.
TOWERS = (
    "vision_tower",
    "vision_model",
    "visual",
    "encoder",
    "multi_modal_projector",
    "projection",
    "connector",
    "perceiver_resampler",
)


def with_frozen_tower(key: str):
    loaded = fresh(key)
    if PARAMS.models[key].tuning == "full":
        freeze_components(loaded.family, loaded.model, ("vision", "connector"))
        return loaded, loaded.model
    lora = PARAMS.adapters.model_copy(update={"strategy": "published", "r": "published", "alpha": "published"})
    return loaded, add_lora(loaded, lora, LANGUAGE)[0]


def inputs_of(loaded, key: str):
    prompt = fill_template(PARAMS.models[key].template, "Describe it.")
    texts = ["CT.", "MRI of the brain with a tumor on the right."]
    examples = [encode(loaded, png(i), prompt, caption=t, max_caption_tokens=64)[0] for i, t in enumerate(texts)]
    return collate_examples(examples, loaded.family, pad_id=loaded.family.pad_id(loaded.processor))


def step(model, inputs) -> None:
    inputs = dict(inputs)
    labels = inputs.pop("labels")
    caption_loss(model(**inputs), labels).backward()


def tower_parts(model) -> dict[str, torch.nn.Module]:
    """The modules of the towers that have no children."""
    parts = {}
    for name, module in model.named_modules():
        path = name.removeprefix("base_model.model.").removeprefix("model.").split(".")
        if path[0] in TOWERS and not list(module.children()):
            parts[name] = module
    return parts


@pytest.mark.parametrize("every", [0, 1])
@pytest.mark.parametrize("key", KEYS)
def test_a_frozen_tower_runs_forward_once_and_never_backward(key: str, every: int) -> None:
    loaded, model = with_frozen_tower(key)
    inputs = inputs_of(loaded, key)
    parts = tower_parts(model)
    forward: Counter[str] = Counter()
    backward: Counter[str] = Counter()
    for name, part in parts.items():
        part.register_forward_hook(lambda *_, name=name: forward.update([name]))
    model.train()
    with torch.no_grad():
        model(**{n: t for n, t in inputs.items() if n != "labels"})
    once = dict(forward)
    assert once
    assert not any(p.requires_grad for part in parts.values() for p in part.parameters())

    forward.clear()
    for name, part in parts.items():
        part.register_full_backward_hook(lambda *_, name=name: backward.update([name]))
    enable_activation_checkpointing(model, every)
    step(model, inputs)
    assert dict(forward) == once
    assert dict(backward) == {}


@pytest.mark.parametrize("key", KEYS)
def test_recomputed_layers_give_the_same_gradients(key: str) -> None:
    results = []
    for every in (0, 1, 2):
        loaded = fresh(key)
        # Batch norms update their statistics in training mode, twice if they run twice; the layers of their tower are not
        # recomputed.
        loaded.model.train()
        for module in loaded.model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        enable_activation_checkpointing(loaded.model, every)
        recomputed = sum(bool(getattr(module, "gradient_checkpointing", False)) for module in loaded.model.modules())
        step(loaded.model, inputs_of(loaded, key))
        results.append(
            (recomputed, torch.cat([p.grad.flatten() for p in loaded.model.parameters() if p.grad is not None]))
        )
    assert results[0][0] == 0 < results[2][0] < results[1][0]
    for _, gradients in results[1:]:
        assert torch.allclose(gradients, results[0][1], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("cuda", [False, True])
def test_deterministic_kernels_are_requested_only_if_there_is_a_gpu(
    cuda: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    try:
        use_deterministic_kernels()
        assert torch.are_deterministic_algorithms_enabled() == cuda
        assert os.environ.pop("CUBLAS_WORKSPACE_CONFIG", None) == (":4096:8" if cuda else None)
    finally:
        torch.use_deterministic_algorithms(False)
