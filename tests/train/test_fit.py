"""Training a miniature: it is repeatable, and it learns the captions and where they end."""

import io
import re
from pathlib import Path

import pytest
import torch

from radcap.caption.generate import generate_captions
from radcap.caption.search import DecodingOptions
from radcap.data import store
from radcap.errors import UserError
from radcap.models.inputs import fill_template
from radcap.train.examples import Examples
from radcap.train.fit import fit
from radcap.train.log import as_csv, read_log
from radcap.train.recipe import Recipe, optimizer_steps
from tests.conftest import png
from tests.models_for_tests import KEYS, PARAMS, fresh

RECIPE = Recipe(
    steps=4,
    batch_size=4,
    accumulation=1,
    learning_rate=0.003,
    weight_decay=0.0,
    warmup=0.0,
    schedule="constant",
    max_grad_norm=1.0,
    seed=3,
)


@pytest.fixture
def rows(tmp_path: Path):
    texts = ["CT of the chest.", "MRI of the brain with a tumor on the right.", "CT.", "a nodule in the left lung"]
    examples = [
        store.Row(id=f"r{i}", image=png(i), caption=t, raw_caption=t, cuis=(), width=40, height=32, sha256="")
        for i, t in enumerate(texts)
    ]
    store.write(tmp_path / "rows.arrow", examples)
    return store.read(tmp_path / "rows.arrow")


def trained(key: str, rows, *, validate: bool = True, **changes) -> tuple[list[dict[str, float]], object]:
    loaded = fresh(key)
    # With dropout, the masks would depend on the micro-batches.
    for module in loaded.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    prompt = fill_template(PARAMS.models[key].template, "Describe it.")
    examples = Examples(loaded, rows, [prompt] * len(rows), max_caption_tokens=64, cache=True)
    recipe = Recipe(**{**RECIPE.__dict__, **changes})
    return fit(loaded.model, examples, examples if validate else None, recipe, label=key).log, loaded


def test_optimizer_steps_count_full_passes() -> None:
    cases = ((1, 1), (2, 1), (1, 2), (0.01, 1))
    assert [optimizer_steps(10, epochs=e, batch_size=4, accumulation=a) for e, a in cases] == [3, 6, 2, 1]


@pytest.mark.parametrize("key", KEYS)
def test_the_same_run_gives_the_same_log(key: str, rows) -> None:
    first, _ = trained(key, rows)
    second, _ = trained(key, rows)
    assert first == second
    assert [row["step"] for row in first if "loss" in row] == [1, 2, 3, 4]
    assert "valid_loss" in first[-1]


@pytest.mark.parametrize("key", KEYS)
def test_a_few_captions_are_learned_to_their_end(key: str, rows) -> None:
    _, loaded = trained(key, rows, validate=False, steps=120, learning_rate=0.003)
    prompts = [fill_template(PARAMS.models[key].template, "Describe it.")] * len(rows)
    rules = DecodingOptions(beams=1, max_new_tokens=60)
    generated = generate_captions(lambda: loaded, rows, prompts, variant="plain", batch_size=3, decoding=rules)
    assert [caption.id for caption in generated] == list(rows["id"])
    assert {caption.finish for caption in generated} == {"end"}
    assert [caption.caption for caption in generated] == list(rows["caption"])


def test_a_non_finite_loss_stops_the_run_with_one_line(rows) -> None:
    with pytest.raises(UserError) as caught:
        trained(
            "smolvlm_500m",
            rows,
            validate=False,
            learning_rate=1e30,
            max_grad_norm=1e30,
            steps=6,
            batch_size=2,
            accumulation=2,
        )
    message = r"smolvlm_500m: the loss is nan at step 2 \(learning rate 1e\+30, images (r\d), (r\d)\); lower .*"
    assert re.fullmatch(message, str(caught.value))


def test_a_non_finite_validation_loss_stops_the_run(rows, monkeypatch) -> None:
    monkeypatch.setattr("radcap.train.trainer.loss_sums", lambda *_: torch.tensor([[float("inf"), 1.0]]))
    with pytest.raises(UserError, match=r"^smolvlm_500m: the validation loss is inf at step 1$"):
        trained("smolvlm_500m", rows, steps=2)


def test_the_log_survives_csv(tmp_path: Path) -> None:
    rows = [
        {"step": 1, "epoch": 0.5, "loss": 2.5, "learning_rate": 5e-05},
        {"step": 2, "epoch": 1.0, "valid_loss": 2.0},
    ]
    text = as_csv(rows)
    assert text.split("\n")[0] == "step,epoch,loss,learning_rate,valid_loss"
    (tmp_path / "log.csv").write_text(text)
    assert read_log(tmp_path / "log.csv") == rows
    assert "\r" not in io.StringIO(text).getvalue()
