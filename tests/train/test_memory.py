"""Out of memory: the same batches in smaller micro-batches, as if they had been asked for."""

import functools
from pathlib import Path

import pytest
import torch

from radcap.errors import UserError
from radcap.models.inputs import fill
from radcap.settings import Resume
from radcap.train.examples import Examples
from radcap.train.fit import Fitted, fit
from radcap.train.recipe import Recipe
from radcap.train.states import States
from tests.models_for_tests import PARAMS, fresh
from tests.train.test_fit import RECIPE
from tests.train.test_micro_batches import sixteen  # noqa: F401

KEY = "qwen2_vl_2b"


def recipe(size: int, accumulation: int) -> Recipe:
    return Recipe(**RECIPE.__dict__ | {"batch_size": size, "accumulation": accumulation})


def run(rows, used: Recipe, *, fits: int = 99, after: int = 0, states: States | None = None):
    """Train with memory for `fits` examples, or for any number up to call number `after` of the model."""
    loaded = fresh(KEY)
    forward, calls, told = loaded.model.forward, [0], []

    @functools.wraps(forward)
    def limited(*args, **inputs):
        calls[0] += 1
        if len(inputs["input_ids"]) > fits and calls[0] > after:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB.")
        return forward(*args, **inputs)

    loaded.model.forward = limited
    prompts = [fill(PARAMS.models[KEY].template, "x")] * len(rows)
    examples = Examples(loaded, rows, prompts, max_caption_tokens=64, cache=True)
    fitted = fit(loaded.model, examples, None, used, label=KEY, listen=told.append, states=states)
    assert [row["step"] for row in told] == [row["step"] for row in fitted.log]
    return fitted, {name: tensor.clone() for name, tensor in loaded.model.state_dict().items()}


def same(first: tuple[Fitted, dict], second: tuple[Fitted, dict]) -> bool:
    return first[0] == second[0] and all(torch.equal(first[1][n], second[1][n]) for n in first[1])


@pytest.mark.parametrize("after", [0, 2])
def test_micro_batches_are_halved_and_batches_stay(after: int, sixteen, tmp_path: Path, capsys) -> None:  # noqa: F811
    used = Recipe(**recipe(8, 1).__dict__ | {"resume": Resume(every_steps=1, every_seconds=0, keep_days=1)})
    found = run(sixteen, used, fits=3, after=after, states=States(tmp_path / "states", label=KEY))
    assert same(found, run(sixteen, recipe(2, 4)))
    assert found[0].record() == {"batch_size": 2, "accumulation": 4, "steps": 4, "kept_step": 4}
    out = capsys.readouterr().out
    for told in ("8 x 1 to 4 x 2", "4 x 2 to 2 x 4"):
        assert f"{KEY}: out of memory; begins again with micro-batches of {told} (examples x accumulation)" in out
    assert ("it begins again, its states in" in out) == (after > 0)


def test_a_run_that_goes_on_keeps_its_smaller_micro_batches(sixteen, tmp_path: Path) -> None:  # noqa: F811
    used = Recipe(**recipe(8, 1).__dict__ | {"resume": Resume(every_steps=1, every_seconds=0, keep_days=1)})
    found = run(sixteen, used, fits=4, states=States(tmp_path, label=KEY))
    again = run(sixteen, used, states=States(tmp_path, label=KEY))
    assert again[0].batch_size == 4
    assert same(found, again)


@pytest.mark.parametrize(
    ("whole", "expected"), [((16, 1), (8, 2)), ((6, 1), (3, 2)), ((3, 2), (1, 6)), ((5, 3), (1, 15)), ((1, 16), None)]
)
def test_half_a_micro_batch_divides_the_batch(whole: tuple[int, int], expected: tuple[int, int] | None) -> None:
    smaller = recipe(*whole).halved()
    assert (smaller and (smaller.batch_size, smaller.accumulation)) == expected


def test_one_example_too_large_is_one_clear_line(sixteen) -> None:  # noqa: F811
    with pytest.raises(UserError, match=r"^qwen2_vl_2b: memory does not suffice for one example; recompute more"):
        run(sixteen, recipe(2, 1), fits=0)


def test_another_error_of_the_model_is_not_taken_for_it(sixteen, monkeypatch) -> None:  # noqa: F811
    def broken(*_, **__):
        raise RuntimeError("shapes differ")

    monkeypatch.setattr("radcap.train.fit.caption_loss", broken)
    with pytest.raises(RuntimeError, match="shapes differ"):
        run(sixteen, recipe(2, 1))
