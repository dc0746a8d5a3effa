"""MedImageInsight's text side (Codella et al. 2024): CLIP's byte-pair encoding and a bidirectional transformer."""

from __future__ import annotations

import html
import importlib
import importlib.metadata
import json
import re
import unicodedata
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import CLIPTokenizer

from radcap.errors import UserError

_ENTITY = re.compile(r"&#?[0-9A-Za-z]{1,24};")
_TERMINAL = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_WIDE = re.compile("[\u3000\uff01-\uffef]+")
# Windows-1252 that was read as Latin-1; five of its bytes are unassigned.
_C1 = {code: bytes([code]).decode("cp1252", "ignore") or chr(code) for code in range(0x80, 0xA0)}
_LIGATURES = re.compile("[\u0132\u0133\u0149\u01c4-\u01cc\u01f1-\u01f3\ufb00-\ufb06]")
_QUOTES = {**dict.fromkeys(range(0x2018, 0x201C), "'"), 0x02BC: "'", **dict.fromkeys(range(0x201C, 0x2020), '"')}
_CONTROLS = dict.fromkeys(
    [*range(0x09), 0x0B, *range(0x0E, 0x20), 0x7F, *range(0x206A, 0x2070), 0xFEFF, *range(0xFFF9, 0xFFFD)]
)


def text_repair_name() -> str:
    """What repairs captions, as part of the scores' identity: the reference's "ftfy x.y.z", or "fallback"."""
    try:
        return f"ftfy {importlib.metadata.version('ftfy')}"
    except importlib.metadata.PackageNotFoundError:
        return "fallback"


def clean_text(text: str, *, repair: str) -> str:
    """The tokenizer's input: Unicode repaired, whitespace collapsed to single blanks and stripped, lower case."""
    fixed: str = _fallback_repair(text) if repair == "fallback" else importlib.import_module("ftfy").fix_text(text)
    # The tokenizer needs UTF-8, which has no form for a lone surrogate.
    paired = fixed.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return re.sub(r"\s+", " ", paired).strip().lower()


def _fallback_repair(text: str) -> str:
    """All of ftfy's documented default repairs except mojibake, repeated until nothing changes, as ftfy does."""
    before = None
    while text != before:
        before = text
        if "<" not in text:
            text = _ENTITY.sub(lambda match: html.unescape(match[0]), text)
        text = text.translate(_C1)
        text = _LIGATURES.sub(lambda match: unicodedata.normalize("NFKC", match[0]), text)
        text = _WIDE.sub(lambda match: unicodedata.normalize("NFKC", match[0]), text)
        text = _TERMINAL.sub("", text.translate(_QUOTES)).translate(_CONTROLS)
        text = unicodedata.normalize("NFC", text)
    return text


class Tokenizer:
    """CLIP's byte-pair encoding from vocab.json and merges.txt, with at most `max_tokens` tokens per caption."""

    def __init__(self, folder: Path, *, max_tokens: int) -> None:
        try:
            vocabulary = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
            lines = (folder / "merges.txt").read_text(encoding="utf-8").split("\n")
            merges = [(left, right) for left, right in (line.split(" ") for line in lines if _is_merge(line))]
        except (OSError, ValueError) as error:
            raise UserError(f"CLIP tokenizer in {folder}: vocab.json or merges.txt cannot be read ({error})") from None
        self.max_tokens = max_tokens
        self.repair = text_repair_name()
        self.size = max(vocabulary.values(), default=-1) + 1
        self._encoder: Any = CLIPTokenizer(vocab=vocabulary, merges=merges)
        # clean_text has normalized already. Once more would compose what lower-casing decomposed.
        self._encoder.backend_tokenizer.normalizer = None

    def encode(self, text: str) -> tuple[int, ...]:
        """Token ids with start and end token. As in the reference, truncation keeps the end token."""
        ids = self._all_ids(text)
        return ids if len(ids) <= self.max_tokens else (*ids[: self.max_tokens - 1], ids[-1])

    def is_truncated(self, text: str) -> bool:
        """Whether a caption has more than `max_tokens` tokens."""
        return len(self._all_ids(text)) > self.max_tokens

    def _all_ids(self, text: str) -> tuple[int, ...]:
        return tuple(self._encoder.backend_tokenizer.encode(clean_text(text, repair=self.repair)).ids)


def _is_merge(line: str) -> bool:
    return bool(line.strip()) and not line.startswith("#version")


class Block(nn.Module):
    """A pre-LN transformer layer. Its attributes are named as in the checkpoint."""

    def __init__(self, width: int, heads: int, eps: float) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(width, eps=eps)
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.ln_2 = nn.LayerNorm(width, eps=eps)
        self.mlp = nn.ModuleDict({"c_fc": nn.Linear(width, 4 * width), "c_proj": nn.Linear(4 * width, width)})

    def forward(self, states: torch.Tensor, padding: torch.Tensor) -> torch.Tensor:
        normed = self.ln_1(states)
        states = states + self.attn(normed, normed, normed, key_padding_mask=padding, need_weights=False)[0]
        inner = self.mlp["c_fc"](self.ln_2(states))
        # QuickGELU, the sigmoid approximation that CLIP was trained with.
        outer: torch.Tensor = self.mlp["c_proj"](inner * torch.sigmoid(1.702 * inner))
        return states + outer


class TextTower(nn.Module):
    """A bidirectional pre-LN transformer, pooled at the end token. `settings`: config.json's text_encoder."""

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__()
        width, eps = settings["width"], settings["layer_norm_eps"]
        self.token_embedding = nn.Embedding(settings["vocab_size"], width)
        self.positional_embedding = nn.Parameter(torch.empty(settings["context_length"], width))
        self.resblocks = nn.ModuleList(Block(width, settings["heads"], eps) for _ in range(settings["layers"]))
        self.ln_final = nn.LayerNorm(width, eps=eps)

    def forward(self, ids: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Features of captions: ids (batch, tokens), padded after `lengths` (batch,) -> (batch, width).

        The pooled token is the first one with the highest id: the end token, or an earlier one that the caption spells.
        """
        positions = torch.arange(ids.shape[1], device=ids.device)
        padding = positions[None, :] >= lengths[:, None]
        states = self.token_embedding(ids) + self.positional_embedding[: ids.shape[1]]
        for block in self.resblocks:
            states = block(states, padding)
        pooled: torch.Tensor = self.ln_final(states[torch.arange(len(ids), device=ids.device), ids.argmax(dim=1)])
        return pooled
