"""With a bfloat16 base, the trainable weights are float32, and training changes them."""

from pathlib import Path

import pytest
import torch

from radcap.adapt.lora import add_lora
from radcap.models import base
from radcap.models.inputs import fill_template
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
    model, targets = add_lora(loaded, lora, PARAMS.models[key].published)
    trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert {p.dtype for p in trainable.values()} == {torch.float32}
    assert {p.dtype for p in model.parameters() if not p.requires_grad} == {torch.bfloat16}
    before = {name: p.detach().clone() for name, p in trainable.items()}
    examples = Examples(
        loaded, rows, [fill_template(PARAMS.models[key].template, "x")] * len(rows), max_caption_tokens=64, cache=True
    )
    # The updates are far smaller than the spacing of bfloat16 at 1.
    recipe = type(RECIPE)(**RECIPE.__dict__ | {"learning_rate": 1e-4, "steps": 2, "autocast": bool(targets.full)})
    fit(model, examples, None, recipe, label=key)
    # LLaVA uses the second to last layer of its tower. Adapters on the last one, which the study counts, get no
    # gradient.
    unused = "vision_tower.encoder.layers.1."
    unchanged = [n for n, p in trainable.items() if torch.equal(before[n], p) and "lora_A" not in n and unused not in n]
    assert unchanged == []
