"""The loss is weighted by tokens over the optimizer batch, however it is split into micro-batches."""

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from radcap.models.inputs import IGNORED, collate, encode, fill_template
from radcap.train.examples import collate_examples
from radcap.train.loss import caption_loss, predicting_positions
from tests.conftest import png
from tests.models_for_tests import KEYS, PARAMS, fresh


def example(seed: int, rows: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(rows, 7, 11, generator=generator)
    labels = torch.randint(0, 11, (rows, 7), generator=generator)
    labels[:, :2] = IGNORED
    labels[0, 4:] = IGNORED
    return logits, labels


def loss(logits: torch.Tensor, labels: torch.Tensor, count: int | None = None) -> torch.Tensor:
    return caption_loss(SimpleNamespace(logits=logits), labels, num_items_in_batch=count)


def test_the_loss_is_the_mean_over_caption_tokens() -> None:
    logits, labels = example(0)
    total, count = 0.0, 0
    for row in range(4):
        for position in range(1, 7):
            target = int(labels[row, position])
            if target != IGNORED:
                total -= float(torch.log_softmax(logits[row, position - 1], 0)[target])
                count += 1
    assert float(loss(logits, labels)) == pytest.approx(total / count, rel=1e-6)


@given(seed=st.integers(0, 99), cut=st.integers(1, 3))
def test_micro_batches_add_up_to_the_batch(seed: int, cut: int) -> None:
    logits, labels = example(seed)
    count = int((labels != IGNORED).sum())
    parts = loss(logits[:cut], labels[:cut], count) + loss(logits[cut:], labels[cut:], count)
    assert float(parts) == pytest.approx(float(loss(logits, labels)), rel=1e-5)


@given(seed=st.integers(0, 99), padding=st.integers(1, 5))
def test_padding_changes_nothing(seed: int, padding: int) -> None:
    logits, labels = example(seed)
    wide = torch.cat([logits, torch.randn(4, padding, 11)], dim=1)
    masked = torch.cat([labels, torch.full((4, padding), IGNORED)], dim=1)
    assert float(loss(wide, masked)) == pytest.approx(float(loss(logits, labels)), rel=1e-5)


def test_the_position_before_each_labelled_token_predicts_it() -> None:
    x = IGNORED
    labels = torch.tensor([[x, x, 5, 6, x], [x, 7, x, x, x]])
    expected = [[False, True, True, False, False], [True, False, False, False, False]]
    assert predicting_positions(labels).tolist() == expected


@pytest.mark.parametrize("key", KEYS)
def test_logits_of_only_caption_tokens_give_the_same_loss_and_gradients(key: str) -> None:
    loaded = fresh(key)
    family, pad = loaded.family, loaded.family.pad_id(loaded.processor)
    prompt = fill_template(PARAMS.models[key].template, "Describe it.")
    texts = ["CT.", "MRI of the brain with a tumor on the right."]
    examples = [encode(loaded, png(i), prompt, caption=t, max_caption_tokens=64)[0] for i, t in enumerate(texts)]
    whole, short = collate(examples, family, pad_id=pad, side="right"), collate_examples(examples, family, pad_id=pad)
    results = []
    for inputs in (whole, short):
        labels = inputs.pop("labels")
        loaded.model.eval().zero_grad()
        outputs = loaded.model(**inputs)
        value = caption_loss(outputs, labels)
        value.backward()
        gradients = torch.cat([p.grad.flatten() for p in loaded.model.parameters() if p.grad is not None])
        results.append((outputs.logits.ndim, value.detach(), gradients))
    assert [ndim for ndim, _, _ in results] == [3, 2]
    assert torch.allclose(results[0][1], results[1][1], rtol=1e-6)
    assert torch.allclose(results[0][2], results[1][2], atol=1e-6)
