"""Rates of a part's own, which weights are kept, and when a run ends."""

from pathlib import Path

import pytest
import torch

from radcap.adapt.lora import add_lora
from radcap.adapt.rates import factor
from radcap.models.inputs import fill
from radcap.settings import Rates
from radcap.train.captioned import mean_rouge1
from radcap.train.examples import Examples
from radcap.train.fit import fit
from radcap.train.recipe import Recipe
from tests.models_for_tests import PARAMS, fresh
from tests.train.test_fit import RECIPE, rows  # noqa: F401

RATES = Rates(adapters=2.0, connector=3.0, head=5.0, embeddings=7.0)


def trainee(key: str, strategy: str = "hybrid"):
    loaded = fresh(key)
    if PARAMS.models[key].tuning == "full":
        return loaded, loaded.model
    lora = PARAMS.adapters.model_copy(update={"strategy": strategy, "r": 4, "alpha": 8, "dropout": 0.0})
    return loaded, add_lora(loaded, lora, PARAMS.models[key].published)[0]


def run(key: str, rows, recipe: Recipe):  # noqa: F811
    loaded, model = trainee(key)
    prompts = [fill(PARAMS.models[key].template, "x")] * len(rows)
    examples = Examples(loaded, rows, prompts, max_caption_tokens=64, cache=True)
    fitted = fit(model, examples, examples, recipe, label=key)
    return fitted, {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}, examples


OF_PARTS = [
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


@pytest.mark.parametrize(("key", "name", "times"), OF_PARTS, ids=[f"{k}-{n}" for k, n, _ in OF_PARTS])
def test_a_parameter_has_the_factor_of_its_part(key: str, name: str, times: float) -> None:
    loaded, model = trainee(key)
    assert name in {n for n, p in model.named_parameters() if p.requires_grad}
    assert factor(loaded.family, RATES)(name) == times


def test_a_factor_of_the_rate_is_the_rate_of_its_part(rows) -> None:  # noqa: F811
    """One step of Adam moves every weight by its rate, whatever the gradient."""
    key = "smolvlm_500m"
    _, model = trainee(key)
    before = {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}
    loaded = fresh(key)
    recipe = Recipe(**RECIPE.__dict__ | {"steps": 1, "factor": factor(loaded.family, RATES)})
    fitted, after, _ = run(key, rows, recipe)
    moved = {n: float((after[n] - before[n]).abs().max()) / recipe.learning_rate for n in after}
    for name, times in moved.items():
        # A's gradient is zero while B is.
        if "lora_A" not in name:
            assert times == pytest.approx(recipe.factor(name), rel=1e-3)
    assert fitted.log[0]["learning_rate"] == recipe.learning_rate


def test_factors_of_one_change_nothing(rows) -> None:  # noqa: F811
    ones = factor(fresh("smolvlm_500m").family, PARAMS.train.rates)
    plain, weights, _ = run("smolvlm_500m", rows, RECIPE)
    same, others, _ = run("smolvlm_500m", rows, Recipe(**RECIPE.__dict__ | {"factor": ones}))
    assert plain == same
    assert all(torch.equal(weights[n], others[n]) for n in weights)


# At a rate that spoils the weights after a few epochs; one step is an epoch.
SPOILED = Recipe(**RECIPE.__dict__ | {"learning_rate": 0.2, "steps": 8, "select_rows": 4, "max_new_tokens": 8})


@pytest.mark.parametrize(("by", "column", "best"), [("valid_loss", "valid_loss", min), ("rouge1", "valid_rouge1", max)])
@pytest.mark.parametrize("key", ["smolvlm_500m", "vision_gpt2"])
def test_the_best_epochs_weights_are_kept(key: str, by: str, column: str, best, rows, capsys) -> None:  # noqa: F811
    fitted, weights, examples = run(key, rows, Recipe(**SPOILED.__dict__ | {"select_by": by}))
    figures = {row["step"]: row[column] for row in fitted.log if column in row}
    assert list(figures) == list(range(1, 9))
    expected = best(figures, key=figures.get)
    assert fitted.kept_step == expected
    assert f"{key}: keeps the weights of step {expected}, best {by} {figures[expected]:.4f}" in capsys.readouterr().out
    until = Recipe(**SPOILED.__dict__ | {"steps": expected, "schedule": "constant"})
    _, then, _ = run(key, rows, until)
    assert all(torch.equal(weights[n], then[n]) for n in weights)
    if by == "rouge1":
        found = mean_rouge1(examples, rows=4, batch_size=4, max_new_tokens=8)
        assert found == pytest.approx(figures[expected], abs=1e-8)


def test_a_run_ends_after_epochs_without_a_better_one(rows, capsys) -> None:  # noqa: F811
    recipe = Recipe(**SPOILED.__dict__ | {"learning_rate": 1e-9, "select_by": "rouge1", "patience": 2})
    fitted, _, _ = run("smolvlm_500m", rows, recipe)
    assert (fitted.steps, fitted.kept_step) == (3, 1)
    assert "smolvlm_500m: ends early at step 3/8, best rouge1" in capsys.readouterr().out


def test_the_last_weights_are_kept_unless_asked_otherwise(rows) -> None:  # noqa: F811
    fitted, _, _ = run("smolvlm_500m", rows, SPOILED)
    assert fitted.kept_step == fitted.steps == 8
    assert PARAMS.train.select_by == "last"


def test_the_validation_loss_is_a_mean_over_tokens_whatever_the_batches(rows, tmp_path: Path) -> None:  # noqa: F811
    losses = []
    for size, accumulation in ((4, 1), (2, 2), (1, 4)):
        recipe = Recipe(**RECIPE.__dict__ | {"batch_size": size, "accumulation": accumulation, "steps": 1})
        fitted, _, _ = run("idefics_9b", rows, recipe)
        losses.append(fitted.log[-1]["valid_loss"])
    assert losses[1:] == pytest.approx([losses[0]] * 2, rel=1e-5)
