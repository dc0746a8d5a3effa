"""The sample's scorers: small models of the published classes, made on the spot."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from radcap.metrics.text import preprocess
from radcap.models.initial import draw_weights
from radcap.models.tokenizers import byte_level_bpe

WIDTH, LAYERS, HEADS, VOCABULARY = 64, 2, 4, 800
BATCH, RATE = 32, 0.002
SPECIAL = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"]


def train_deberta(captions: Sequence[str], folder: Path, *, steps: int, seed: int) -> None:
    """A small DeBERTa for BERTScore, trained by masked-language modelling on (preprocessed) captions."""
    import tempfile

    from transformers import (
        DataCollatorForLanguageModeling,
        DebertaConfig,
        DebertaForMaskedLM,
        DebertaTokenizer,
        PrinterCallback,
        Trainer,
        TrainingArguments,
    )

    texts = [preprocess(caption) for caption in captions]
    tokenizer = byte_level_bpe(texts, size=VOCABULARY, special=SPECIAL, kind=DebertaTokenizer)
    model = DebertaForMaskedLM(
        DebertaConfig(
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
    )
    draw_weights(model)
    encoded = [{"input_ids": tokenizer(text, truncation=True, max_length=128)["input_ids"]} for text in texts]
    with tempfile.TemporaryDirectory(prefix="radcap-") as scratch:
        trainer = Trainer(
            model=model,
            args=TrainingArguments(
                output_dir=scratch,
                max_steps=steps,
                per_device_train_batch_size=BATCH,
                learning_rate=RATE,
                warmup_steps=steps // 10,
                seed=seed,
                save_strategy="no",
                logging_strategy="no",
                report_to=[],
                disable_tqdm=True,
                dataloader_pin_memory=False,
            ),
            train_dataset=encoded,
            data_collator=DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.15, seed=seed),
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    model.deberta.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def build_medcat_pack(folder: Path) -> Path:
    """A MedCAT pack of the phantoms' lexicon, with the regex tokenizer (no spaCy model); returns the .zip."""
    os.environ.setdefault("MEDCAT_DISABLE_VERSION_CHECK", "True")
    logging.getLogger("medcat").setLevel(logging.ERROR)
    import numpy as np
    import pandas as pd
    from medcat.cat import CAT
    from medcat.config import Config
    from medcat.model_creation.cdb_maker import CDBMaker
    from medcat.vocab import Vocab

    rows = lexicon_rows()
    config = Config()
    config.general.nlp.provider = "regex"
    config.cdb_maker.min_letters_required = 1
    # "CT" has two letters; untrained concepts have similarity -1.
    config.components.ner.min_name_len = 2
    config.components.linking.similarity_threshold = -2
    vocabulary = Vocab()
    for word in sorted({word for row in rows for word in row["name"].split()}):
        vocabulary.add_word(word, vec=np.ones(7))
    cdb = CDBMaker(config).prepare_csvs([pd.DataFrame(rows)])
    folder.mkdir(parents=True, exist_ok=True)
    saved = Path(CAT(cdb=cdb, vocab=vocabulary, config=config).save_model_pack(str(folder), only_archive=True))
    return saved.replace(folder / "medcat.zip")


def lexicon_rows() -> list[dict[str, Any]]:
    """The phantoms' concepts as MedCAT's CDB table: one row per name, the first of a concept preferred."""
    from radcap.data.phantoms import lexicon

    return [
        {
            "cui": concept.cui,
            "name": name,
            "name_status": "P" if number == 0 else "A",
            "type_ids": "|".join(concept.types),
            "ontologies": "PHANTOMS",
            "description": "",
        }
        for concept in lexicon.load()
        for number, name in enumerate(concept.names)
    ]
