"""The packed encoder computes the same first states as transformers' padded forward pass."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import RobertaConfig, RobertaModel

from radcap.metrics.batching import PackedEncoder, token_batches

SIZES = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 24}


@pytest.fixture(scope="module")
def model() -> RobertaModel:
    torch.manual_seed(0)
    return RobertaModel(RobertaConfig(vocab_size=50, **SIZES)).eval()


@pytest.mark.parametrize("lengths", [[1], [5, 5, 5], [7, 4, 4, 1], [3, 2, 1]])
def test_first_states_are_those_of_the_padded_forward(model: RobertaModel, lengths: list[int]) -> None:
    ids = torch.randint(3, 50, (len(lengths), max(lengths)))
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    ids[~mask] = model.config.pad_token_id
    with torch.inference_mode():
        expected = model(ids, attention_mask=mask.long()).last_hidden_state[:, 0]
        found = PackedEncoder(model.encoder.layer).first_states(model.embeddings(ids), lengths)
    assert torch.allclose(found, expected, atol=1e-5)


@given(sizes=st.lists(st.integers(1, 40), max_size=60), budget=st.integers(1, 100))
@settings(deadline=None)
def test_batches_hold_every_text_once_longest_first_within_the_budget(sizes: list[int], budget: int) -> None:
    found = list(token_batches(sizes, max_tokens=budget))
    flat = [number for batch in found for number in batch]
    assert sorted(flat) == list(range(len(sizes)))
    assert [sizes[number] for number in flat] == sorted(sizes, reverse=True)
    assert all(len(batch) == 1 or sum(sizes[n] for n in batch) <= budget for batch in found)
