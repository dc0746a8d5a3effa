"""When memory runs out, the same batches are computed in smaller micro-batches, as if these had been configured."""

import functools
from pathlib import Path

import pytest
import torch

from radcap.errors import UserError
from radcap.models.inputs import fill_template
from radcap.runtime.checkpoints import TrainingCheckpoints
from radcap.settings import Resume
from radcap.train.examples import Examples
from radcap.train.fit import TrainingResult, fit
from radcap.train.recipe import Recipe
from tests.models_for_tests import PARAMS, fresh
from tests.train.test_micro_batches import sixteen  # noqa: F401
from tests.train.test_recipe import recipe

KEY = "qwen2_vl_2b"


def run(rows, recipe: Recipe, *, fits: int = 99, after: int = 0, checkpoints: TrainingCheckpoints | None = None):
    """Train with memory for `fits` examples. The first `after` calls of the model have unlimited memory."""
    loaded = fresh(KEY)
    forward, calls, listened = loaded.model.forward, [0], []

    @functools.wraps(forward)
    def limited(*args, **inputs):
        calls[0] += 1
        if len(inputs["input_ids"]) > fits and calls[0] > after:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB.")
        return forward(*args, **inputs)

    loaded.model.forward = limited
    prompts = [fill_template(PARAMS.models[KEY].template, "x")] * len(rows)
    examples = Examples(loaded, rows, prompts, max_caption_tokens=64, cache=True)
    result = fit(loaded.model, examples, None, recipe, label=KEY, listener=listened.append, checkpoints=checkpoints)
    assert [row["step"] for row in listened] == [row["step"] for row in result.log]
    return result, {name: tensor.clone() for name, tensor in loaded.model.state_dict().items()}


def same(first: tuple[TrainingResult, dict], second: tuple[TrainingResult, dict]) -> bool:
    return first[0] == second[0] and all(torch.equal(first[1][n], second[1][n]) for n in first[1])


@pytest.mark.parametrize("after", [0, 2])
def test_micro_batches_are_halved_and_batches_stay_the_same(after: int, sixteen, tmp_path: Path, capsys) -> None:  # noqa: F811
    saving = Recipe(**recipe(8, 1).__dict__ | {"resume": Resume(every_steps=1, every_seconds=0, keep_days=1)})
    halved = run(sixteen, saving, fits=3, after=after, checkpoints=TrainingCheckpoints(tmp_path / "run", label=KEY))
    assert same(halved, run(sixteen, recipe(2, 4)))
    assert halved[0].record() == {"batch_size": 2, "accumulation": 4, "steps": 4, "kept_step": 4}
    out = capsys.readouterr().out
    for change in ("4 x 2 instead of 8 x 1", "2 x 4 instead of 4 x 2"):
        assert f"{KEY}: out of memory; starts again with micro-batches of {change} (examples x accumulation)" in out
    assert ("training starts again; deleting its checkpoints in" in out) == (after > 0)


def test_a_resumed_run_keeps_its_smaller_micro_batches(sixteen, tmp_path: Path) -> None:  # noqa: F811
    saving = Recipe(**recipe(8, 1).__dict__ | {"resume": Resume(every_steps=1, every_seconds=0, keep_days=1)})
    first = run(sixteen, saving, fits=4, checkpoints=TrainingCheckpoints(tmp_path, label=KEY))
    resumed = run(sixteen, saving, checkpoints=TrainingCheckpoints(tmp_path, label=KEY))
    assert resumed[0].batch_size == 4
    assert same(first, resumed)


def test_a_single_example_that_is_too_large_is_one_clear_line(sixteen) -> None:  # noqa: F811
    with pytest.raises(UserError, match=r"^qwen2_vl_2b: not enough memory for a single example; recompute more"):
        run(sixteen, recipe(2, 1), fits=0)


def test_another_error_of_the_model_is_not_mistaken_for_it(sixteen, monkeypatch) -> None:  # noqa: F811
    def broken(*_, **__):
        raise RuntimeError("shapes differ")

    monkeypatch.setattr("radcap.train.fit.caption_loss", broken)
    with pytest.raises(RuntimeError, match="shapes differ"):
        run(sixteen, recipe(2, 1))
