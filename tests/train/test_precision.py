"""bfloat16 bases: what trains is float32, and moves."""

from pathlib import Path

import pytest
import torch

from radcap.adapt.lora import add_lora
from radcap.models import base
from radcap.models.inputs import fill
from radcap.settings import Lora
from radcap.train.examples import Examples
from radcap.train.fit import fit
from tests.models_for_tests import LORA_KEYS, PARAMS, fresh
from tests.train.test_fit import RECIPE, rows  # noqa: F401


@pytest.mark.parametrize("strategy", ["published", "hybrid"])
@pytest.mark.parametrize("key", LORA_KEYS)
def test_adapters_and_whole_modules_on_a_bfloat16_base_train_in_float32(
    key: str,
    strategy: str,
    rows,  # noqa: F811
    tmp_path: Path,
) -> None:
    base.save_miniature(fresh(key), tmp_path / "base", family_name=PARAMS.models[key].family)
    loaded = base.load(tmp_path / "base", dtype="bfloat16")
    lora = Lora(**PARAMS.lora.model_dump() | {"strategy": strategy, "dropout": 0.0})
    trainee, chosen = add_lora(loaded, lora, PARAMS.models[key].published)
    moving = {name: p for name, p in trainee.named_parameters() if p.requires_grad}
    assert {p.dtype for p in moving.values()} == {torch.float32}
    assert {p.dtype for p in trainee.parameters() if not p.requires_grad} == {torch.bfloat16}
    before = {name: p.detach().clone() for name, p in moving.items()}
    examples = Examples(
        loaded, rows, [fill(PARAMS.models[key].template, "x")] * len(rows), max_caption_tokens=64, cache=True
    )
    # Steps far below bfloat16's spacing at 1.
    recipe = type(RECIPE)(**RECIPE.__dict__ | {"learning_rate": 1e-4, "steps": 2, "autocast": bool(chosen.full)})
    fit(trainee, examples, None, recipe, label=key)
    # LLaVA reads the tower's last layer but one; adapters on the last, which the study counts, have no gradient.
    unread = "vision_tower.encoder.layers.1."
    still = [n for n, p in moving.items() if torch.equal(before[n], p) and "lora_A" not in n and unread not in n]
    assert still == []
