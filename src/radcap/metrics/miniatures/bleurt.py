"""The miniature BLEURT: a small model of the published class, trained on caption pairs of known quality."""

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
from radcap.metrics.miniatures.pair_training import SIZES, WIDTH, Batch, Example, draw_pairs, fit, initialize
from radcap.metrics.miniatures.training import seeded_single_thread
from radcap.metrics.preprocessing import preprocess

CONFIG: dict[str, Any] = {
    "model_type": "bleurt",
    "embedding_size": WIDTH,
    "type_vocab_size": 2,
    "layer_norm_eps": 1e-12,
    "max_position_embeddings": 512,
    "pad_token_id": 0,
    "num_labels": 1,
}
VOCABULARY_SIZE = 400


def train_bleurt(folder: Path, *, steps: int, seed: int) -> None:
    """Train a small BLEURT on preprocessed pairs, with a squared loss of their targets; write it for `BleurtScorer`.

    The same steps and seed give the same bytes on the same kind of processor.
    """
    with seeded_single_thread(seed, "bleurt") as rng, files.atomic_folder(folder) as out:
        pairs = draw_pairs(rng, steps=steps)
        preprocessed = {text: preprocess(text) for pair in pairs for text in (pair.reference, pair.candidate)}
        (out / bleurt.TOKENIZER).write_bytes(_train_sentencepiece(sorted(set(preprocessed.values()))))
        tokenizer = bleurt.PairTokenizer(out / bleurt.TOKENIZER, max_tokens=512)
        ids = {raw: tokenizer.encode(text) for raw, text in preprocessed.items()}
        inputs = [(tokenizer.pair(ids[pair.reference], ids[pair.candidate]), pair) for pair in pairs]
        config = {"vocab_size": tokenizer.pieces.get_piece_size(), **SIZES, **CONFIG}
        model = bleurt.build_model(config)
        initialize(model)

        def forward(batch: Batch) -> tuple[Tensor, Tensor]:
            masks = {"token_type_ids": batch.token_types, "attention_mask": batch.mask.long()}
            outputs = model(input_ids=batch.ids, output_hidden_states=True, **masks)
            return outputs.hidden_states[-1], mse_loss(outputs.logits[:, 0], batch.target)

        examples = [Example(tokens.ids, tokens.reference_length, pair) for tokens, pair in inputs]
        fit(model, forward, examples, rng, steps=steps, pad=CONFIG["pad_token_id"], label="bleurt")
        weights = {bleurt.published_name(name): tensor for name, tensor in model.state_dict().items()}
        save_file(weights, out / bleurt.WEIGHTS[0], {"format": "pt"})
        files.write_json(out / bleurt.CONFIG, config)


def _train_sentencepiece(texts: Sequence[str]) -> bytes:
    """Train a unigram model whose file contains no path. One thread: several would sum their counts in any order."""
    from sentencepiece import SentencePieceTrainer

    model = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_writer=model,
        vocab_size=VOCABULARY_SIZE,
        hard_vocab_limit=False,
        num_threads=1,
        pad_id=0,
        unk_id=1,
        bos_id=-1,
        eos_id=-1,
        pad_piece=bleurt.SPECIAL_TOKENS[0],
        unk_piece=bleurt.SPECIAL_TOKENS[1],
        user_defined_symbols=list(bleurt.SPECIAL_TOKENS[2:]),
        minloglevel=2,
    )
    return model.getvalue()
