"""Vocabularies of the published kinds: GPT-2's if it is there, or else learned from the captions."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from radcap.metrics.preprocessing import preprocess

# The published ones have about 50,000 and 120,000 tokens, but ten thousand captions do not give more.
LEARNED = 8000
Vocabulary = tuple[dict[str, int], list[tuple[str, str]]]


def byte_level(captions: Sequence[str], size: int, special: Sequence[str], gpt2: Path) -> Vocabulary:
    """Special tokens, a byte-level BPE, and unused tokens up to `size`."""
    if (gpt2 / "vocab.json").is_file():
        learned, merges = _read(gpt2)
    else:
        learned, merges = _learn_byte_level(captions)
    names = [*special, *(name for name in learned if name not in special)]
    names += [f"<unused{number}>" for number in range(size - len(names))]
    return {name: number for number, name in enumerate(names)}, merges


def clip(captions: Sequence[str]) -> Vocabulary:
    """A BPE as CLIP's: lower case, with marks at the ends of words; the end token has the highest id."""
    import tokenizers
    from tokenizers import models, pre_tokenizers, trainers

    trained = tokenizers.Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    trained.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=LEARNED, end_of_word_suffix="</w>", initial_alphabet=alphabet, show_progress=False
    )
    trained.train_from_iterator([caption.lower() for caption in captions], trainer)
    vocabulary, merges = _parts(trained)
    for name in (*(f"{letter}</w>" for letter in alphabet), "<|startoftext|>", "<|endoftext|>"):
        vocabulary.setdefault(name, len(vocabulary))
    return vocabulary, merges


def pieces(texts: Iterable[str], special: Sequence[str]) -> bytes:
    """The file of a sentencepiece unigram model whose first pieces are the special tokens."""
    from sentencepiece import SentencePieceTrainer

    model = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(sorted(set(texts))),
        model_writer=model,
        vocab_size=LEARNED,
        hard_vocab_limit=False,
        pad_id=0,
        unk_id=1,
        bos_id=-1,
        eos_id=-1,
        pad_piece=special[0],
        unk_piece=special[1],
        user_defined_symbols=list(special[2:]),
        minloglevel=2,
    )
    return model.getvalue()


def write(folder: Path, vocabulary: dict[str, int], merges: Sequence[tuple[str, str]]) -> None:
    """Write vocab.json and merges.txt."""
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    lines = ["#version: 0.2", *map(" ".join, merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _learn_byte_level(captions: Sequence[str]) -> Vocabulary:
    from tokenizers import ByteLevelBPETokenizer

    trained = ByteLevelBPETokenizer()
    texts = [*captions, *map(preprocess, captions)]
    trained.train_from_iterator(texts, vocab_size=LEARNED, min_frequency=2, show_progress=False)
    return _parts(trained)


def _parts(trained: Any) -> Vocabulary:
    model = json.loads(trained.to_str())["model"]
    return model["vocab"], [tuple(pair) for pair in model["merges"]]


def _read(folder: Path) -> Vocabulary:
    vocabulary = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    lines = (folder / "merges.txt").read_text(encoding="utf-8").splitlines()
    pairs = (line.split(" ") for line in lines if line.strip() and not line.startswith("#version"))
    return vocabulary, [(left, right) for left, right in pairs]
