"""The sample's BLEURT: a small model of the published class, trained on pairs of known truth."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import mse_loss

from radcap import files
from radcap.metrics import bleurt
from radcap.metrics.miniatures.pair_training import SIZES, WIDTH, draw_pairs, fit, start
from radcap.metrics.miniatures.signals import Batch, Example
from radcap.metrics.miniatures.training import alone
from radcap.metrics.text import preprocess

CONFIG: dict[str, Any] = {
    "model_type": "bleurt",
    "embedding_size": WIDTH,
    "type_vocab_size": 2,
    "layer_norm_eps": 1e-12,
    "max_position_embeddings": 512,
    "pad_token_id": 0,
    "num_labels": 1,
}
PIECES = 400


def train_bleurt(folder: Path, *, steps: int, seed: int) -> None:
    """Write a small BLEURT for `BleurtScorer`; it learns each pair's target, by squared error, preprocessed.

    The same steps and seed give the same bytes on the same kind of processor.
    """
    with alone(seed, "bleurt") as rng, files.atomic_folder(folder) as out:
        pairs = draw_pairs(rng, steps=steps)
        texts = {text: preprocess(text) for pair in pairs for text in (pair.reference, pair.candidate)}
        (out / bleurt.TOKENIZER).write_bytes(_sentencepiece(sorted(set(texts.values()))))
        tokenizer = bleurt.PairTokenizer(out / bleurt.TOKENIZER, limit=512)
        ids = {text: tokenizer.ids(plain) for text, plain in texts.items()}
        joined = [(tokenizer.pair(ids[pair.reference], ids[pair.candidate]), pair) for pair in pairs]
        config = {"vocab_size": tokenizer.pieces.get_piece_size(), **SIZES, **CONFIG}
        model = bleurt.build_model(config)
        start(model)

        def read(batch: Batch) -> tuple[Tensor, Tensor]:
            inputs = {"token_type_ids": batch.second, "attention_mask": batch.mask.long()}
            found = model(input_ids=batch.ids, output_hidden_states=True, **inputs)
            return found.hidden_states[-1], mse_loss(found.logits[:, 0], batch.target)

        examples = [Example(j.ids, j.zeros, pair) for j, pair in joined]
        fit(model, read, examples, rng, steps=steps, pad=CONFIG["pad_token_id"], label="bleurt")
        weights = {bleurt.published_name(name): tensor for name, tensor in model.state_dict().items()}
        save_file(weights, out / bleurt.WEIGHTS[0], {"format": "pt"})
        files.write_json(out / bleurt.CONFIG, config)


def _sentencepiece(texts: Sequence[str]) -> bytes:
    """A unigram model whose file names no path; one thread, because more add up their counts in any order."""
    from sentencepiece import SentencePieceTrainer

    model = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_writer=model,
        vocab_size=PIECES,
        hard_vocab_limit=False,
        num_threads=1,
        pad_id=0,
        unk_id=1,
        bos_id=-1,
        eos_id=-1,
        pad_piece=bleurt.SPECIAL[0],
        unk_piece=bleurt.SPECIAL[1],
        user_defined_symbols=list(bleurt.SPECIAL[2:]),
        minloglevel=2,
    )
    return model.getvalue()
