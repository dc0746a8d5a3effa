"""The small CLIP tokenizer: the same files every time, in CLIP's format, with every word of its captions."""

import json
from pathlib import Path

from radcap import files
from radcap.metrics.medimageinsight.text_tower import Tokenizer
from radcap.metrics.miniatures.clip_tokenizer import END, START, write_tokenizer
from tests.metrics.miniatures.phantoms import rows

CAPTIONS = [row["caption"] for row in rows(40, seed=5)] + ["Café, 3.5 µm", "", "!!"]


def test_the_same_captions_give_the_same_bytes(tmp_path: Path) -> None:
    """In few captions many pairs of letters are equally frequent. Which is merged first must not be random."""
    hashes = []
    for run in range(6):
        (tmp_path / str(run)).mkdir()
        write_tokenizer(CAPTIONS, tmp_path / str(run))
        hashes.append(files.folder_hashes(tmp_path / str(run)))
    assert all(found == hashes[0] for found in hashes)


def test_files_are_spelled_as_clips(tmp_path: Path) -> None:
    count = write_tokenizer(CAPTIONS, tmp_path)
    pieces = json.loads((tmp_path / "vocab.json").read_text(encoding="utf-8"))
    assert list(pieces.values()) == list(range(count))
    assert list(pieces)[-2:] == [START, END]
    merges = [line.split(" ") for line in (tmp_path / "merges.txt").read_text(encoding="utf-8").splitlines()[1:]]
    assert all(left in pieces and right in pieces and left + right in pieces for left, right in merges)
    # A piece that ends a word begins none.
    assert not any(left.endswith("</w>") for left, _ in merges)
    tokenizer = Tokenizer(tmp_path, max_tokens=77)
    assert tokenizer.encode("") == (pieces[START], pieces[END])
    assert tokenizer.encode("The chest") == (pieces[START], pieces["the</w>"], pieces["chest</w>"], pieces[END])
