"""Which weights are kept, when a run stops early, and the validation loss."""

from pathlib import Path

import pytest
import torch

from radcap.adapt.lora import add_lora
from radcap.models.inputs import fill_template
from radcap.train.examples import Examples
from radcap.train.fit import fit
from radcap.train.model_selection import mean_rouge1
from radcap.train.recipe import Recipe
from tests.models_for_tests import PARAMS, fresh
from tests.train.test_fit import RECIPE, rows  # noqa: F401


def adapted(key: str, strategy: str = "hybrid"):
    """A miniature, and the same with adapters if its model is tuned with LoRA."""
    loaded = fresh(key)
    if PARAMS.models[key].tuning == "full":
        return loaded, loaded.model
    lora = PARAMS.adapters.model_copy(update={"strategy": strategy, "r": 4, "alpha": 8, "dropout": 0.0})
    return loaded, add_lora(loaded, lora, PARAMS.models[key].published)[0]


def run(key: str, rows, recipe: Recipe):  # noqa: F811
    loaded, model = adapted(key)
    prompts = [fill_template(PARAMS.models[key].template, "x")] * len(rows)
    examples = Examples(loaded, rows, prompts, max_caption_tokens=64, cache=True)
    result = fit(model, examples, examples, recipe, label=key)
    return result, {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}, examples


# The learning rate is so high that the weights get worse after a few epochs. One step is an epoch.
SPOILED = Recipe(**RECIPE.__dict__ | {"learning_rate": 0.2, "steps": 8, "select_rows": 4, "max_new_tokens": 8})


@pytest.mark.parametrize(("by", "column", "best"), [("valid_loss", "valid_loss", min), ("rouge1", "valid_rouge1", max)])
@pytest.mark.parametrize("key", ["smolvlm_500m", "vision_gpt2"])
def test_the_weights_of_the_best_epoch_are_kept(key: str, by: str, column: str, best, rows, capsys) -> None:  # noqa: F811
    result, weights, examples = run(key, rows, Recipe(**SPOILED.__dict__ | {"select_by": by}))
    figures = {row["step"]: row[column] for row in result.log if column in row}
    assert list(figures) == list(range(1, 9))
    expected = best(figures, key=figures.get)
    assert result.kept_step == expected
    assert f"{key}: keeps the weights of step {expected}, best {by} {figures[expected]:.4f}" in capsys.readouterr().out
    stopped_there = Recipe(**SPOILED.__dict__ | {"steps": expected, "schedule": "constant"})
    _, expected_weights, _ = run(key, rows, stopped_there)
    assert all(torch.equal(weights[n], expected_weights[n]) for n in weights)
    if by == "rouge1":
        score = mean_rouge1(examples, rows=4, batch_size=4, max_new_tokens=8)
        assert score == pytest.approx(figures[expected], abs=1e-8)


def test_a_run_stops_after_epochs_without_a_better_one(rows, capsys) -> None:  # noqa: F811
    recipe = Recipe(**SPOILED.__dict__ | {"learning_rate": 1e-9, "select_by": "rouge1", "patience": 2})
    result, _, _ = run("smolvlm_500m", rows, recipe)
    assert (result.steps, result.kept_step) == (3, 1)
    assert "smolvlm_500m: stopped early at step 3/8, best rouge1" in capsys.readouterr().out


def test_the_last_weights_are_kept_by_default(rows) -> None:  # noqa: F811
    result, _, _ = run("smolvlm_500m", rows, SPOILED)
    assert result.kept_step == result.steps == 8
    assert PARAMS.train.select_by == "last"


def test_the_validation_loss_is_a_mean_over_tokens_whatever_the_batch_size(rows, tmp_path: Path) -> None:  # noqa: F811
    losses = []
    for size, accumulation in ((4, 1), (2, 2), (1, 4)):
        recipe = Recipe(**RECIPE.__dict__ | {"batch_size": size, "accumulation": accumulation, "steps": 1})
        result, _, _ = run("idefics_9b", rows, recipe)
        losses.append(result.log[-1]["valid_loss"])
    assert losses[1:] == pytest.approx([losses[0]] * 2, rel=1e-5)
