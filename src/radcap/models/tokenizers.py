"""Small tokenizers of the published kinds, trained on the spot."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from transformers import LlamaTokenizer

Tokenizer = TypeVar("Tokenizer")


def byte_level_bpe(
    texts: Iterable[str], *, size: int, special: Sequence[str], kind: Callable[..., Tokenizer], **options: Any
) -> Tokenizer:
    """GPT-2's byte-level BPE with `size` tokens as a tokenizer of class `kind` (GPT2Tokenizer, DebertaTokenizer).

    `special` come first; `options` name bos_token and the like.
    """
    from tokenizers import ByteLevelBPETokenizer

    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(
        texts, vocab_size=size, min_frequency=2, special_tokens=list(special), show_progress=False
    )
    vocabulary, merges = _parts(trained)
    return kind(vocab=vocabulary, merges=merges, extra_special_tokens=list(special), **options)


def llama_bpe(
    texts: Iterable[str], *, size: int, special: Sequence[str], added: Sequence[str] = (), **options: Any
) -> LlamaTokenizer:
    """Llama's BPE: blanks as a meta character, unknown characters as UTF-8 bytes.

    `special` come first, `added` behind the `size` tokens of the vocabulary.
    """
    import tokenizers
    from tokenizers import pre_tokenizers, trainers
    from tokenizers.models import BPE
    from transformers import LlamaTokenizer

    pieces = ["<unk>", "<s>", "</s>", *special, *(f"<0x{byte:02X}>" for byte in range(256))]
    trained = tokenizers.Tokenizer(BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    trained.pre_tokenizer = pre_tokenizers.Metaspace()
    trained.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=size, special_tokens=pieces, show_progress=False))
    vocabulary, merges = _parts(trained)
    return LlamaTokenizer(vocab=vocabulary, merges=merges, extra_special_tokens=[*special, *added], **options)


def _parts(trained: Any) -> tuple[dict[str, int], list[tuple[str, str]]]:
    model = json.loads(trained.to_str())["model"]
    return model["vocab"], [tuple(pair) for pair in model["merges"]]
