"""The sample's DeBERTa for BERTScore, trained by masked-language modelling on captions.

In so short a training a token's vector stays the word's own: shuffled words match as well as a caption of another
image, and one wrong word weighs little. So some texts are shuffled, and every token learns whether its text is (the
idea of ELECTRA's replaced tokens, Clark et al. 2020, which DeBERTa's third version was trained with) and the facts of
its caption. The heads are not kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from radcap import files
from radcap.errors import UserError
from radcap.metrics.miniatures.facts import FACTS, NO_FACT, numbers, read
from radcap.metrics.miniatures.training import alone, batches, descend
from radcap.metrics.text import preprocess
from radcap.models.initialization import initialize_weights
from radcap.models.tokenizers import byte_level_bpe

WIDTH, LAYERS, HEADS, VOCABULARY = 64, 2, 4, 800
RATE, MASKED, LONGEST = 0.004, 0.15, 48
SPECIAL = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"]


def train_deberta(captions: Sequence[str], folder: Path, *, steps: int, seed: int) -> None:
    """Write a small DeBERTa for `BertScorer`, trained on preprocessed captions.

    The same captions, steps and seed give the same bytes on the same kind of processor. UserError: no captions.
    """
    from transformers import DataCollatorForLanguageModeling, DebertaForMaskedLM, DebertaTokenizer

    if not len(captions):
        raise UserError("a small DeBERTa cannot be trained on no captions")
    texts = [preprocess(caption) for caption in captions]
    with alone(seed, "bertscore") as rng, files.atomic_folder(folder) as out:
        tokenizer = byte_level_bpe(texts, size=VOCABULARY, special=SPECIAL, kind=DebertaTokenizer)
        model = DebertaForMaskedLM(_config(tokenizer))
        initialize_weights(model)
        ordered, facts = nn.Linear(WIDTH, 1), nn.Linear(WIDTH, sum(map(len, FACTS.values())))
        truths = torch.tensor([numbers(read(caption)) for caption in captions])
        mask = DataCollatorForLanguageModeling(tokenizer, mlm_probability=MASKED, seed=seed)
        drawn = batches([len(text) for text in texts], rng)

        def loss() -> Tensor:
            rows = next(drawn)
            shown = [texts[index] for index in rows]
            ids = tokenizer(shown + _shuffle(shown, rng), truncation=True, max_length=LONGEST)["input_ids"]
            batch = mask([{"input_ids": row} for row in ids])
            # Words and facts are learned of captions alone.
            labels = batch.pop("labels")
            labels[len(rows) :] = NO_FACT
            found = model(**batch, output_hidden_states=True)
            tokens = batch["attention_mask"].bool()
            own = tokens[: len(rows)]
            truth = (torch.arange(len(tokens)) < len(rows)).float()[:, None].expand_as(tokens)[tokens]
            told = truths[rows][:, None].expand(-1, own.shape[1], -1)[own]
            language = _mean(found.logits.flatten(0, 1), labels.flatten())
            # Of every layer: BERTScore may compare the states of any.
            beside = []
            for states in found.hidden_states[1:]:
                beside.append(binary_cross_entropy_with_logits(ordered(states)[..., 0][tokens], truth))
                parts = facts(states[: len(rows)][own]).split([len(values) for values in FACTS.values()], dim=1)
                beside.append(torch.stack(list(map(_mean, parts, told.T))).mean())
            return language + torch.stack(beside).sum() / LAYERS

        parameters = [*model.parameters(), *ordered.parameters(), *facts.parameters()]
        descend(parameters, loss, steps=steps, rate=RATE, label="bertscore")
        model.deberta.save_pretrained(out)
        tokenizer.save_pretrained(out)


def _config(tokenizer: Any) -> Any:
    from transformers import DebertaConfig

    return DebertaConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        intermediate_size=4 * WIDTH,
        relative_attention=True,
        pos_att_type=["c2p", "p2c"],
        position_biased_input=False,
        type_vocab_size=0,
        pad_token_id=tokenizer.pad_token_id,
    )


def _mean(logits: Tensor, truth: Tensor) -> Tensor:
    """Cross-entropy over what has a truth, of which a short batch may hold none."""
    return cross_entropy(logits, truth, reduction="sum") / (truth >= 0).sum().clamp(min=1)


def _shuffle(texts: Sequence[str], rng: np.random.Generator) -> list[str]:
    """For every second text as many of all the texts' words, in random order."""
    words = [word for text in texts for word in text.split()]
    lengths = [len(text.split()) for text in texts[::2]]
    return [" ".join(words[at] for at in rng.permutation(len(words))[:length]) for length in lengths]
