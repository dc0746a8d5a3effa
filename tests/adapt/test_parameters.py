"""Learning rate factors of components and adapters."""

import pytest
import torch

from radcap.adapt.parameters import learning_rate_factor
from radcap.settings import Rates
from radcap.train.recipe import Recipe
from tests.models_for_tests import PARAMS, fresh
from tests.train.test_fit import RECIPE, rows  # noqa: F401
from tests.train.test_model_selection import adapted, run

RATES = Rates(adapters=2.0, connector=3.0, head=5.0, embeddings=7.0)


FACTORS = [
    ("smolvlm_500m", "base_model.model.model.text_model.layers.0.self_attn.q_proj.lora_A.default.weight", 2.0),
    (
        "smolvlm_500m",
        "base_model.model.model.vision_model.encoder.layers.0.self_attn.q_proj.lora_B.default.weight",
        2.0,
    ),
    ("smolvlm_500m", "base_model.model.model.connector.modality_projection.proj.lora_A.default.weight", 3.0),
    ("smolvlm_500m", "base_model.model.lm_head.modules_to_save.default.weight", 5.0),
    ("smolvlm_500m", "base_model.model.model.text_model.embed_tokens.modules_to_save.default.weight", 7.0),
    ("qwen2_vl_2b", "base_model.model.model.visual.merger.mlp.0.lora_B.default.weight", 3.0),
    ("idefics_9b", "base_model.model.model.gated_cross_attn_layers.0.cross_attn.q_proj.lora_A.default.weight", 3.0),
    ("vision_gpt2", "encoder.layers.0.attention.q_proj.weight", 1.0),
    ("vision_gpt2", "decoder.transformer.h.0.attn.c_attn.weight", 1.0),
    ("vision_gpt2", "decoder.transformer.wte.weight", 7.0),
]


@pytest.mark.parametrize(("key", "name", "expected"), FACTORS, ids=[f"{k}-{n}" for k, n, _ in FACTORS])
def test_a_parameter_has_the_factor_of_its_component(key: str, name: str, expected: float) -> None:
    loaded, model = adapted(key)
    assert name in {n for n, p in model.named_parameters() if p.requires_grad}
    assert learning_rate_factor(loaded.family, RATES)(name) == expected


def test_the_factor_multiplies_the_learning_rate(rows) -> None:  # noqa: F811
    """One step of Adam moves every weight by its learning rate, whatever the gradient."""
    key = "smolvlm_500m"
    _, model = adapted(key)
    before = {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}
    loaded = fresh(key)
    recipe = Recipe(**RECIPE.__dict__ | {"steps": 1, "rate_factor": learning_rate_factor(loaded.family, RATES)})
    result, after, _ = run(key, rows, recipe)
    moved = {n: float((after[n] - before[n]).abs().max()) / recipe.learning_rate for n in after}
    for name, multiple in moved.items():
        # The gradient of A is zero as long as B is zero.
        if "lora_A" not in name:
            assert multiple == pytest.approx(recipe.rate_factor(name), rel=1e-3)
    assert result.log[0]["learning_rate"] == recipe.learning_rate


def test_factors_of_one_change_nothing(rows) -> None:  # noqa: F811
    ones = learning_rate_factor(fresh("smolvlm_500m").family, PARAMS.train.rates)
    result, weights, _ = run("smolvlm_500m", rows, RECIPE)
    result_with_ones, weights_with_ones, _ = run(
        "smolvlm_500m", rows, Recipe(**RECIPE.__dict__ | {"rate_factor": ones})
    )
    assert result == result_with_ones
    assert all(torch.equal(weights[n], weights_with_ones[n]) for n in weights)
