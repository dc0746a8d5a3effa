"""The miniature DeBERTa for BERTScore, trained by masked-language modelling on captions.

Such a short training leaves token vectors that depend on the word alone: shuffled words match as well as the caption of
another image, and one wrong word weighs little. So the model also sees shuffled words, and each token learns the facts
of its caption, and whether its text is shuffled, after ELECTRA's replaced tokens (Clark et al. 2020), which
DeBERTa's third version was trained with. The heads for these losses are not saved.
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
from radcap.metrics.miniatures.facts import FACTS, NO_FACT, fact_labels, read_case
from radcap.metrics.miniatures.training import endless_batches, seeded_single_thread, train
from radcap.metrics.preprocessing import preprocess
from radcap.models.initialization import initialize_weights
from radcap.models.tokenizers import byte_level_bpe

WIDTH, LAYERS, HEADS, VOCABULARY_SIZE = 64, 2, 4, 800
LEARNING_RATE, MASKED_SHARE, MAX_TOKENS = 0.004, 0.15, 48
SPECIAL_TOKENS = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"]


def train_deberta(captions: Sequence[str], folder: Path, *, steps: int, seed: int) -> None:
    """Train a small DeBERTa on preprocessed captions, and write it for `BertScorer`.

    The same captions, steps and seed give the same bytes on the same kind of processor. UserError: no captions.
    """
    from transformers import DataCollatorForLanguageModeling, DebertaForMaskedLM, DebertaTokenizer

    if not len(captions):
        raise UserError("a small DeBERTa cannot be trained on no captions")
    texts = [preprocess(caption) for caption in captions]
    with seeded_single_thread(seed, "bertscore") as rng, files.atomic_folder(folder) as out:
        tokenizer = byte_level_bpe(texts, size=VOCABULARY_SIZE, special=SPECIAL_TOKENS, kind=DebertaTokenizer)
        model = DebertaForMaskedLM(_config(tokenizer))
        initialize_weights(model)
        order_head, fact_head = nn.Linear(WIDTH, 1), nn.Linear(WIDTH, sum(map(len, FACTS.values())))
        facts = torch.tensor([fact_labels(read_case(caption)) for caption in captions])
        mask_words = DataCollatorForLanguageModeling(tokenizer, mlm_probability=MASKED_SHARE, seed=seed)
        batches = endless_batches([len(text) for text in texts], rng)

        def next_loss() -> Tensor:
            rows = next(batches)
            shown = [texts[index] for index in rows]
            ids = tokenizer(shown + _shuffle(shown, rng), truncation=True, max_length=MAX_TOKENS)["input_ids"]
            batch = mask_words([{"input_ids": row} for row in ids])
            # Words and facts are learned from captions only, not from shuffled words.
            labels = batch.pop("labels")
            labels[len(rows) :] = NO_FACT
            outputs = model(**batch, output_hidden_states=True)
            tokens = batch["attention_mask"].bool()
            caption_tokens = tokens[: len(rows)]
            is_ordered = (torch.arange(len(tokens)) < len(rows)).float()[:, None].expand_as(tokens)[tokens]
            facts_of_tokens = facts[rows][:, None].expand(-1, caption_tokens.shape[1], -1)[caption_tokens]
            language_loss = _mean_loss(outputs.logits.flatten(0, 1), labels.flatten())
            # From every layer, because BERTScore may compare the states of any of them.
            losses = []
            for states in outputs.hidden_states[1:]:
                losses.append(binary_cross_entropy_with_logits(order_head(states)[..., 0][tokens], is_ordered))
                logits = fact_head(states[: len(rows)][caption_tokens])
                logits_of_facts = logits.split([len(values) for values in FACTS.values()], dim=1)
                losses.append(torch.stack(list(map(_mean_loss, logits_of_facts, facts_of_tokens.T))).mean())
            return language_loss + torch.stack(losses).sum() / LAYERS

        parameters = [*model.parameters(), *order_head.parameters(), *fact_head.parameters()]
        train(parameters, next_loss, steps=steps, learning_rate=LEARNING_RATE, label="bertscore")
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


def _mean_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """The mean cross-entropy over rows with a label; 0 if a short batch has none."""
    return cross_entropy(logits, labels, reduction="sum") / (labels >= 0).sum().clamp(min=1)


def _shuffle(texts: Sequence[str], rng: np.random.Generator) -> list[str]:
    """For every second text, as many words, drawn from all texts."""
    words = [word for text in texts for word in text.split()]
    lengths = [len(text.split()) for text in texts[::2]]
    return [" ".join(words[index] for index in rng.permutation(len(words))[:length]) for length in lengths]
