"""A small CLIP tokenizer for the miniature MedImageInsight."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from radcap import files
from radcap.metrics.medimageinsight.text_tower import clean_text, text_repair_name

START, END = "<|startoftext|>", "<|endoftext|>"
END_OF_WORD = "</w>"
VOCABULARY_SIZE = 900
# Marks the last letter of a word while merges are learned. The trainer's own suffix would break ties by hash order.
SHIFT = 0xE000


def write_tokenizer(captions: Sequence[str], folder: Path) -> int:
    """Train CLIP's byte-pair encoding on cleaned captions; write vocab.json and merges.txt; return the vocabulary size.

    The order is CLIP's: single bytes, single bytes at the end of a word, merges as learned, start, end (the highest
    id). The same captions give the same bytes.
    """
    import tokenizers
    from tokenizers import pre_tokenizers, trainers
    from tokenizers.models import BPE
    from transformers import CLIPTokenizer

    repair = text_repair_name()
    split = CLIPTokenizer(vocab={START: 0, END: 1}, merges=[]).backend_tokenizer.pre_tokenizer
    trained = tokenizers.Tokenizer(BPE())
    trained.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY_SIZE, min_frequency=2, show_progress=False)
    words = ([word for word, _ in split.pre_tokenize_str(clean_text(caption, repair=repair))] for caption in captions)
    trained.train_from_iterator((" ".join(map(_mark_end, line)) for line in words), trainer)
    merges = [
        (_restore_end(left), _restore_end(right)) for left, right in json.loads(trained.to_str())["model"]["merges"]
    ]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    learned = [left + right for left, right in merges]
    pieces = list(dict.fromkeys([*letters, *(letter + END_OF_WORD for letter in letters), *learned, START, END]))
    files.write_json(folder / "vocab.json", {piece: number for number, piece in enumerate(pieces)})
    lines = ["#version: 0.2", *(f"{left} {right}" for left, right in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return len(pieces)


def _mark_end(word: str) -> str:
    return word[:-1] + chr(ord(word[-1]) + SHIFT)


def _restore_end(piece: str) -> str:
    return piece if ord(piece[-1]) < SHIFT else piece[:-1] + chr(ord(piece[-1]) - SHIFT) + END_OF_WORD
