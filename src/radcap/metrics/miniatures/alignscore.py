"""The miniature AlignScore: a small model of the published classes, trained on caption pairs of known quality."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

from radcap import files
from radcap.metrics import alignscore_checkpoint as checkpoint
from radcap.metrics.alignscore import split_sentences
from radcap.metrics.miniatures.pair_training import SIZES, WIDTH, Batch, Example, draw_pairs, fit, initialize
from radcap.metrics.miniatures.pairs import LABELS, Pair
from radcap.metrics.miniatures.training import seeded_single_thread
from radcap.models.tokenizers import byte_level_bpe

CONFIG: dict[str, Any] = {
    "model_type": "roberta",
    "type_vocab_size": 1,
    "layer_norm_eps": 1e-5,
    "max_position_embeddings": 514,
    "bos_token_id": 0,
    "pad_token_id": 1,
    "eos_token_id": 2,
}
VOCABULARY_SIZE = 1000
SPECIAL_TOKENS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")


def train_alignscore(folder: Path, *, steps: int, seed: int) -> None:
    """Train a small AlignScore, and write it for `AlignScorer` in the layout of `alignscore_checkpoint.convert`.

    It reads a raw sentence of the candidate beside the whole reference. The three-way head learns P(aligned) = target,
    with the rest on the pair's label (on neutral if that is aligned). The other heads learn whether the pair is
    aligned, and the target. The same steps and seed give the same bytes on the same kind of processor.
    """
    from transformers import RobertaConfig, RobertaModel

    with seeded_single_thread(seed, "alignscore") as rng, files.atomic_folder(folder) as out:
        pairs = draw_pairs(rng, steps=steps)
        claims = [(pair, sentence) for pair in pairs for sentence in split_sentences(pair.candidate)]
        texts = sorted({text for pair, sentence in claims for text in (pair.reference, sentence)})
        tokenizer = _roberta_tokenizer(texts, out)
        ids = dict(zip(texts, tokenizer(texts, add_special_tokens=False)["input_ids"], strict=True))
        config = {"vocab_size": len(tokenizer), **SIZES, **CONFIG}
        model = RobertaModel(RobertaConfig(**config))
        initialize(model)
        heads = nn.ModuleDict({name: nn.Linear(WIDTH, outputs) for name, outputs in checkpoint.HEADS.items()})

        def forward(batch: Batch) -> tuple[Tensor, Tensor]:
            outputs = model(batch.ids, attention_mask=batch.mask.long())
            return outputs.last_hidden_state, _head_losses(heads, outputs.pooler_output, batch)

        examples = [_sentence_pair(ids[pair.reference], ids[sentence], pair) for pair, sentence in claims]
        network = nn.ModuleList([model, heads])
        fit(network, forward, examples, rng, steps=steps, pad=CONFIG["pad_token_id"], label="alignscore")
        weights = {checkpoint.ENCODER_PREFIX + name: tensor for name, tensor in model.state_dict().items()}
        save_file(weights | heads.state_dict(), out / checkpoint.WEIGHTS, {"format": "pt"})
        files.write_json(out / checkpoint.CONFIG, config)


def _head_losses(heads: nn.ModuleDict, pooled: Tensor, batch: Batch) -> Tensor:
    aligned = batch.label == LABELS.index("aligned")
    truth = torch.zeros(len(pooled), len(LABELS))
    rest = torch.where(aligned, LABELS.index("neutral"), batch.label)
    truth.scatter_(1, rest[:, None], (1 - batch.target)[:, None])
    truth[:, LABELS.index("aligned")] += batch.target
    losses = (
        cross_entropy(heads["tri_layer"](pooled), truth),
        cross_entropy(heads["bin_layer"](pooled), aligned.long()),
        mse_loss(heads["reg_layer"](pooled)[:, 0].sigmoid(), batch.target),
    )
    return torch.stack(losses).sum()


def _sentence_pair(context: Sequence[int], sentence: Sequence[int], pair: Pair) -> Example:
    """`<s> context </s></s> sentence </s>`."""
    begin, end = CONFIG["bos_token_id"], CONFIG["eos_token_id"]
    return Example([begin, *context, end, end, *sentence, end], len(context) + 3, pair)


def _roberta_tokenizer(texts: Sequence[str], folder: Path) -> Any:
    """Train a byte-level BPE, and write its two files into the folder."""
    from transformers import RobertaTokenizer

    def write(*, vocab: dict[str, int], merges: list[tuple[str, str]], **_: Any) -> Any:
        (folder / checkpoint.VOCAB).write_text(json.dumps(vocab, ensure_ascii=False), encoding="utf-8")
        lines = ["#version: 0.2", *map(" ".join, merges)]
        (folder / checkpoint.MERGES).write_text("\n".join(lines) + "\n", encoding="utf-8")
        return RobertaTokenizer(vocab=vocab, merges=merges)

    return byte_level_bpe(texts, size=VOCABULARY_SIZE, special=SPECIAL_TOKENS, kind=write)
