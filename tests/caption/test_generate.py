"""A caption depends on its image, model and prompt: not on its batch, the order, other processes, or an interruption."""

import os
from pathlib import Path

import pytest
import torch

from radcap.caption.generate import ProcessShare, generate_captions, length_sorted_batches
from radcap.caption.records import Caption, read_captions, write_captions
from radcap.caption.search import DecodingOptions
from radcap.caption.shards import CaptionShards
from radcap.data import store
from radcap.models.base import LoadedModel
from radcap.models.inputs import collate, encode, fill_template
from tests.conftest import png
from tests.models_for_tests import KEYS, PARAMS, fresh, shared

GREEDY = DecodingOptions(beams=1, max_new_tokens=8)
SIZES = [(40, 32), (64, 64), (90, 30), (33, 70), (64, 20), (50, 50), (20, 64), (128, 90), (31, 31)]
WORDS = ["Describe it.", "CT image. Describe it.", "Describe this radiology image in one sentence, please."]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory):
    made = [
        store.Row(
            id=f"r{i}", image=png(i, size=(w, h)), caption="", raw_caption="", cuis=(), width=w, height=h, sha256=""
        )
        for i, (w, h) in enumerate(SIZES)
    ]
    path = tmp_path_factory.mktemp("rows") / "rows.arrow"
    store.write(path, made)
    return store.read(path)


def prompts(key: str, count: int = len(SIZES)) -> list[str]:
    return [fill_template(PARAMS.models[key].template, WORDS[index % len(WORDS)]) for index in range(count)]


def made(
    key: str,
    rows,
    given: list[str] | None = None,
    *,
    batch_size: int = 4,
    decoding: DecodingOptions = GREEDY,
    **options,
):
    """Captions by the shared miniature, unless `loaded` gives another."""
    loaded: LoadedModel = options.pop("loaded", None) or shared(key)
    wanted = given or prompts(key)
    return generate_captions(
        lambda: loaded, rows, wanted, variant="plain", decoding=decoding, batch_size=batch_size, **options
    )


def texts(found: list[Caption]) -> list[tuple[str, str, int, str]]:
    return [(one.id, one.raw, one.tokens, one.finish) for one in found]


@pytest.mark.parametrize("beams", [1, 2])
@pytest.mark.parametrize("key", KEYS)
def test_batch_size_and_order_change_nothing(key: str, rows, beams: int) -> None:
    decoding = DecodingOptions(beams=beams, max_new_tokens=8)
    single = made(key, rows, batch_size=1, decoding=decoding)
    for size in (4, 16):
        batched = made(key, rows, batch_size=size, decoding=decoding)
        assert texts(batched) == texts(single)
        assert [one.logprob for one in batched] == pytest.approx([one.logprob for one in single], abs=2e-4)
    shuffled = [4, 0, 7, 2, 8, 5, 1, 6, 3]
    other = made(key, rows.select(shuffled), [prompts(key)[i] for i in shuffled], batch_size=3, decoding=decoding)
    assert sorted(texts(other)) == texts(single)
    assert [one.id for one in other] == [f"r{i}" for i in shuffled]
    assert all(one.tokens == 8 for one in single if one.finish == "length")


@pytest.mark.parametrize("key", KEYS)
def test_two_processes_and_an_interruption_give_the_same_bytes(
    key: str, rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = made(key, rows, batch_size=2)
    mine = made(key, rows, batch_size=2, shards=CaptionShards(tmp_path), share=ProcessShare(1, 2))
    assert 0 < len(mine) < len(rows)
    shards = CaptionShards(tmp_path)
    made(key, rows, batch_size=2, shards=shards, share=ProcessShare(0, 2))
    # A kill in the middle of a line: its batch is decoded again, and no other.
    torn = shards.files["plain"]
    torn.write_bytes(torn.read_bytes()[:-9])
    decoded = []
    monkeypatch.setattr("radcap.caption.generate.encode", lambda *a, **k: decoded.append(a) or encode(*a, **k))
    assert made(key, rows, batch_size=2, shards=CaptionShards(tmp_path)) == whole
    assert 1 <= len(decoded) <= 2
    # All are there: the model is not even opened.
    assert (
        generate_captions(None, rows, prompts(key), variant="plain", decoding=GREEDY, batch_size=2, shards=shards)
        == whole
    )


@pytest.mark.parametrize("key", ["smolvlm_500m", "qwen2_vl_2b"])
def test_workers_that_prepare_images_change_nothing(key: str, rows) -> None:
    assert made(key, rows, batch_size=2, workers=2) == made(key, rows, batch_size=2)


@pytest.mark.parametrize("key", KEYS)
def test_prompts_of_a_batch_are_of_like_length(key: str, rows) -> None:
    """The planned order is that of the real lengths, image tokens included, longest first."""
    loaded, wanted = shared(key), prompts(key)
    lengths = [
        encode(loaded, row["image"], p)[0][loaded.family.ids_name].shape[1] for row, p in zip(rows, wanted, strict=True)
    ]
    planned = length_sorted_batches(loaded, rows, wanted, size=4)
    flat = [index for batch in planned for index in batch]
    assert sorted(flat) == list(range(len(rows)))
    assert [len(batch) for batch in planned] == [4, 4, 1]
    assert [lengths[index] for index in flat] == sorted(lengths, reverse=True)


@pytest.mark.parametrize("key", KEYS)
def test_what_a_batch_computes_is_what_an_image_alone_gives(key: str, rows) -> None:
    """Logits at each caption's first tokens, for prompts of unequal length: equal captions could be luck."""
    loaded, adapter = shared(key), shared(key).family
    given = [encode(loaded, row["image"], p)[0] for row, p in zip(rows.select(range(5)), prompts(key, 5), strict=True)]
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
    decoding = DecodingOptions(beams=1, max_new_tokens=12)
    expected = made(key, rows, decoding=decoding, loaded=loaded)
    loaded.model.generation_config.repetition_penalty = 5.0
    loaded.model.generation_config.no_repeat_ngram_size = 1
    assert made(key, rows, decoding=decoding, loaded=loaded) == expected
    assert any(len(set(one.caption.split())) < len(one.caption.split()) for one in expected)


def test_stale_parts_are_removed_with_a_word(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new, old, own = (tmp_path / name for name in ("new", "old", "own"))
    for folder in (new, old):
        CaptionShards(folder).add("plain", [])
    week = 8 * 86400
    for path in (*old.iterdir(), old):
        os.utime(path, (path.stat().st_atime - week, path.stat().st_mtime - week))
    CaptionShards(own).prune()
    assert {path.name for path in tmp_path.iterdir()} == {"new"}
    assert str(old) in capsys.readouterr().out


def test_json_lines_keep_odd_characters(tmp_path: Path) -> None:
    common = {"variant": "plain", "finish": "end", "logprob": -0.5}
    odd = Caption(id="a", raw=" 5 µm\u2028 × \x85 {é}", caption="5 µm × {é}", tokens=3, **common)
    found = [odd, Caption(id="b", raw="", caption="", tokens=0, **common)]
    write_captions(tmp_path / "c.jsonl", found)
    assert read_captions(tmp_path / "c.jsonl") == found
    assert (tmp_path / "c.jsonl").read_bytes().count(b"\n") == 2
