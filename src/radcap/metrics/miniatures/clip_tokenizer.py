"""A small CLIP tokenizer for the sample's image-text model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from radcap import files
from radcap.metrics.medimageinsight.text_tower import clean, repair_name

START, END = "<|startoftext|>", "<|endoftext|>"
LAST = "</w>"
TOKENS = 900
# A word's last letter while merges are learned. With the trainer's own suffix, ties fall as its hash table has them.
SHIFT = 0xE000


def write_tokenizer(captions: Sequence[str], folder: Path) -> int:
    """Train CLIP's byte-pair encoding on cleaned captions, write vocab.json and merges.txt, return the token count.

    CLIP's order: single bytes, single bytes that end a word, merges as learned, start, end (the highest id). The same
    captions give the same bytes.
    """
    import tokenizers
    from tokenizers import pre_tokenizers, trainers
    from tokenizers.models import BPE
    from transformers import CLIPTokenizer

    repair = repair_name()
    split = CLIPTokenizer(vocab={START: 0, END: 1}, merges=[]).backend_tokenizer.pre_tokenizer
    trained = tokenizers.Tokenizer(BPE())
    trained.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.BpeTrainer(vocab_size=TOKENS, min_frequency=2, show_progress=False)
    words = ([word for word, _ in split.pre_tokenize_str(clean(caption, repair=repair))] for caption in captions)
    trained.train_from_iterator((" ".join(map(_marked, line)) for line in words), trainer)
    merges = [(_spelled(left), _spelled(right)) for left, right in json.loads(trained.to_str())["model"]["merges"]]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    learned = [left + right for left, right in merges]
    pieces = list(dict.fromkeys([*letters, *(letter + LAST for letter in letters), *learned, START, END]))
    files.write_json(folder / "vocab.json", {piece: number for number, piece in enumerate(pieces)})
    lines = ["#version: 0.2", *(f"{left} {right}" for left, right in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return len(pieces)


def _marked(word: str) -> str:
    return word[:-1] + chr(ord(word[-1]) + SHIFT)


def _spelled(piece: str) -> str:
    return piece if ord(piece[-1]) < SHIFT else piece[:-1] + chr(ord(piece[-1]) - SHIFT) + LAST
