"""A caption depends on its image alone: not on its batch, not on the order."""

from pathlib import Path

import pytest
import torch

from radcap.caption.generate import captions
from radcap.caption.lines import Caption, read, write
from radcap.data import store
from radcap.models.inputs import collate, encode, fill
from tests.conftest import png
from tests.models_for_tests import KEYS, PARAMS, fresh, shared


@pytest.fixture
def rows(tmp_path: Path):
    sizes = [(40, 32), (64, 64), (90, 30), (33, 70), (64, 20)]
    made = [
        store.Row(id=f"r{i}", image=png(i, size=s), caption="", raw_caption="", cuis=(), width=1, height=1, sha256="")
        for i, s in enumerate(sizes)
    ]
    store.write(tmp_path / "rows.arrow", made)
    return store.read(tmp_path / "rows.arrow")


@pytest.mark.parametrize("beams", [1, 2])
@pytest.mark.parametrize("key", KEYS)
def test_batch_size_and_order_change_nothing(key: str, rows, beams: int) -> None:
    prompt = fill(PARAMS.models[key].template, "Describe it.")
    options = {"variant": "plain", "beams": beams, "max_new_tokens": 8}
    single = captions(shared(key), rows, prompt, batch_size=1, **options)
    assert captions(shared(key), rows, prompt, batch_size=3, **options) == single
    backwards = captions(shared(key), rows.select([4, 3, 2, 1, 0]), prompt, batch_size=2, **options)
    assert backwards[::-1] == single
    assert [caption.id for caption in single] == ["r0", "r1", "r2", "r3", "r4"]
    assert all(caption.tokens == 8 for caption in single if caption.finish == "length")


@pytest.mark.parametrize("key", KEYS)
def test_what_a_batch_computes_is_what_an_image_alone_gives(key: str, rows) -> None:
    """Logits at each caption's first tokens, for prompts of unequal length: equal captions could be luck."""
    loaded, adapter = shared(key), shared(key).family
    prompts = ["Describe it.", "Describe this image in one sentence, please.", "Describe.", "What is it?", "Look."]
    given = [
        encode(loaded, row["image"], fill(PARAMS.models[key].template, p))[0]
        for row, p in zip(rows, prompts, strict=True)
    ]
    pad, found = adapter.pad_id(loaded.processor), []
    for groups in ([[example] for example in given], [given]):
        steps = []
        for group in groups:
            inputs = collate(group, adapter, pad_id=pad, side="left")
            options = {"max_new_tokens": 4, "min_new_tokens": 4, "do_sample": False, "pad_token_id": pad}
            out = loaded.model.generate(**inputs, **options, output_logits=True, return_dict_in_generate=True)
            steps.append(torch.stack(out.logits, dim=1))
        found.append(torch.cat(steps))
    alone, together = found
    assert torch.allclose(alone, together, atol=1e-4)
    # The pictures and prompts do matter, so a mix-up would show.
    assert all(not torch.allclose(alone[0], other, atol=1e-2) for other in alone[1:])


def test_a_repositorys_penalties_do_not_reach_captions(rows) -> None:
    """Published repositories bring generation defaults along (Qwen2.5-VL a repetition penalty)."""
    loaded, key = fresh("smolvlm_500m"), "smolvlm_500m"
    prompt = fill(PARAMS.models[key].template, "Describe it.")
    options = {"variant": "plain", "batch_size": 2, "beams": 1, "max_new_tokens": 12}
    expected = captions(loaded, rows, prompt, **options)
    loaded.model.generation_config.repetition_penalty = 5.0
    loaded.model.generation_config.no_repeat_ngram_size = 1
    assert captions(loaded, rows, prompt, **options) == expected
    assert any(len(set(c.caption.split())) < len(c.caption.split()) for c in expected)


def test_json_lines_keep_odd_characters(tmp_path: Path) -> None:
    made = [Caption("a", "plain", "5 µm\u2028 × \x85 {é}", 3, "end"), Caption("b", "plain", "", 0, "end")]
    write(tmp_path / "c.jsonl", made)
    assert read(tmp_path / "c.jsonl") == made
    assert (tmp_path / "c.jsonl").read_bytes().count(b"\n") == 2
