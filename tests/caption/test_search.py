"""The search against transformers' own greedy and beam decoding, on every family, with captions that end early."""

import math
from collections import Counter
from dataclasses import replace
from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import GenerationConfig

from radcap.caption.decode import decode
from radcap.caption.search import BeamSearch, DecodingOptions
from radcap.models.inputs import collate, encode, fill_template
from tests.conftest import png
from tests.models_for_tests import KEYS, PARAMS, shared

SIZES = [(40, 32), (64, 64), (90, 30), (33, 70), (64, 20), (128, 128)]
PROMPTS = ["Describe it.", "Describe this image in one sentence, please.", "Describe.", "What is it?", "Look.", "x"]
LIMIT = 16


def examples(key: str):
    template = PARAMS.models[key].template
    pairs = zip((png(i, size=size) for i, size in enumerate(SIZES)), PROMPTS, strict=True)
    return [encode(shared(key), image, fill_template(template, prompt))[0] for image, prompt in pairs]


def ending(key: str, end: int):
    """Another end token for a family; -1: none."""
    return patch.object(type(shared(key).family), "end_id", lambda *_: end)


def frequent_token(key: str, given) -> int:
    """A token that untrained captions hold here and there: as the end token it ends some of them early."""
    with ending(key, -1):
        found = decode(shared(key), given, DecodingOptions(beams=1, max_new_tokens=LIMIT))
    return Counter(token for one in found for token in one.tokens[2:]).most_common(2)[-1][0]


def theirs(key: str, given, end: int, decoding: DecodingOptions):
    """transformers' captions without the end token, and for beams their length-normalised scores."""
    loaded, pad = shared(key), shared(key).family.pad_id(shared(key).processor)
    batch = collate(given, loaded.family, pad_id=pad, side="left")
    own = loaded.model.generation_config
    config = GenerationConfig(
        bos_token_id=own.bos_token_id,
        decoder_start_token_id=own.decoder_start_token_id,
        eos_token_id=end,
        pad_token_id=pad,
        do_sample=False,
        num_beams=decoding.beams,
        max_new_tokens=decoding.max_new_tokens,
        length_penalty=decoding.length_penalty,
        output_scores=True,
        return_dict_in_generate=True,
    )
    with torch.inference_mode():
        out = loaded.model.generate(**batch, generation_config=config)
    rows = out.sequences[:, batch[loaded.family.ids_name].shape[1] :].tolist()
    return [row[: row.index(end)] if end in row else row for row in rows], getattr(out, "sequences_scores", None)


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("key", KEYS)
def test_captions_are_those_of_transformers(key: str, beams: int) -> None:
    given = examples(key)
    end = frequent_token(key, given)
    decoding = DecodingOptions(beams=beams, max_new_tokens=LIMIT)
    with ending(key, end):
        ours = decode(shared(key), given, decoding)
    expected, scores = theirs(key, given, end, decoding)
    assert [one.tokens for one in ours] == expected
    assert [one.ended for one in ours] == [len(one.tokens) < LIMIT for one in ours]
    if scores is not None:
        assert [one.logprob for one in ours] == pytest.approx(scores.tolist(), abs=1e-5)


def walk(table: torch.Tensor, decoding: DecodingOptions, *, end: int):
    """A search in which the next token depends on the last alone: log-probabilities (vocabulary, vocabulary)."""
    search = BeamSearch(1, decoding, end=end)
    chosen = search.step(table[:1])
    while search.rows:
        del chosen
        chosen = search.step(table[search.tokens[..., -1].flatten()])
    return search.best()[0]


def score(table: torch.Tensor, tokens: list[int]) -> float:
    pairs = zip([0, *tokens], tokens, strict=False)
    return sum(float(table[a, b]) for a, b in pairs) / len(tokens)


@given(st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_a_wide_search_finds_the_best_of_all_sequences(seed: int) -> None:
    """With as many beams as sequences there are, against every sequence of up to 3 tokens (end token 0)."""
    table = torch.randn(4, 4, generator=torch.Generator().manual_seed(seed)).log_softmax(-1)
    sequences = [[0]]
    sequences += [[a, 0] for a in (1, 2, 3)] + [[a, b, c] for a in (1, 2, 3) for b in (1, 2, 3) for c in range(4)]
    best = max(sequences, key=lambda tokens: score(table, tokens))
    # 2 * beams may not exceed the candidates of a first step.
    padded = torch.cat([table, torch.full((4, 60), -50.0)], dim=1)
    padded = torch.cat([padded, padded[:1].expand(60, -1)])
    found = walk(padded, DecodingOptions(beams=32, max_new_tokens=3), end=0)
    whole = [*found.tokens, 0] if found.ended else found.tokens
    assert score(padded, whole) == pytest.approx(score(table, best), abs=1e-5)
    assert found.logprob == pytest.approx(score(padded, whole), abs=1e-5)


def test_repetition_control_looks_at_the_captions_own_tokens() -> None:
    """Token 1 after 1 is likeliest by far; the end token is 0, and the prompt is never seen."""
    table = torch.tensor(
        [[0.01, 0.97, 0.01, 0.01], [0.1, 0.6, 0.2, 0.1], [0.3, 0.5, 0.1, 0.1], [0.4, 0.4, 0.1, 0.1]]
    ).log()
    plain = DecodingOptions(beams=1, max_new_tokens=4)
    assert walk(table, plain, end=0).tokens == [1, 1, 1, 1]
    assert walk(table, replace(plain, no_repeat_ngram=1), end=0).tokens == [1, 2]
    assert walk(table, replace(plain, no_repeat_ngram=2), end=0).tokens == [1, 1, 2, 1]
    # The model's own probabilities are told, not the penalised ones.
    penalised = walk(table, replace(plain, repetition_penalty=4.0), end=0)
    assert penalised.tokens == [1, 2]
    assert penalised.logprob == pytest.approx(math.log(0.97 * 0.2 * 0.3) / 3)


def test_a_length_penalty_prefers_longer_captions() -> None:
    table = torch.tensor([[0.45, 0.55, 0.0, 0.0], [0.5, 0.5, 0.0, 0.0], [0.0] * 4, [0.0] * 4]).add(1e-9).log()
    short, long = (
        walk(table, DecodingOptions(beams=2, max_new_tokens=3, length_penalty=p), end=0) for p in (-2.0, 4.0)
    )
    assert len(short.tokens) < len(long.tokens)


def test_an_image_leaves_the_batch_when_its_search_is_over() -> None:
    """Of three images the second ends at once; the rows to go on from are the first's and third's."""
    first = torch.full((3, 5), 0.01)
    first[0, 1] = first[1, 4] = first[2, 2] = 0.96
    search = BeamSearch(3, DecodingOptions(beams=1, max_new_tokens=5), end=4)
    chosen = search.step(first.log())
    assert chosen is not None
    assert (chosen.tolist(), search.rows) == ([0, 2], [0, 2])
    assert search.tokens[:, 0, 0].tolist() == [1, 2]
