"""A caption depends on its image alone: not on its batch, not on the order."""

from pathlib import Path

import pytest

from radcap.caption.generate import captions
from radcap.caption.lines import Caption, read, write
from radcap.data import store
from radcap.models.inputs import fill
from tests.conftest import png
from tests.models_for_tests import KEYS, PARAMS, shared


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


def test_json_lines_keep_odd_characters(tmp_path: Path) -> None:
    made = [Caption("a", "plain", "5 µm\u2028 × \x85 {é}", 3, "end"), Caption("b", "plain", "", 0, "end")]
    write(tmp_path / "c.jsonl", made)
    assert read(tmp_path / "c.jsonl") == made
    assert (tmp_path / "c.jsonl").read_bytes().count(b"\n") == 2
