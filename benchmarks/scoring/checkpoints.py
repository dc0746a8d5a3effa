"""Random base-size weights in the published layouts, written once into a folder. Scorers load them as they are."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from radcap import files
from radcap.metrics.preprocessing import preprocess
from scoring import vocabularies

SEED = 5
# Twice BERT's initial value, so that scores of different captions differ.
STD = 0.04
DEBERTA_LAYER = 10
DEBERTA: dict[str, Any] = {
    "vocab_size": 50265,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "max_position_embeddings": 512,
    "relative_attention": True,
    "pos_att_type": ["c2p", "p2c"],
    "position_biased_input": False,
    "type_vocab_size": 0,
    "layer_norm_eps": 1e-7,
    "pad_token_id": 0,
}
BLEURT: dict[str, Any] = {
    "vocab_size": 120300,
    "embedding_size": 128,
    "hidden_size": 1024,
    "num_hidden_layers": 12,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
    "hidden_act": "gelu",
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
    "layer_norm_eps": 1e-12,
    "pad_token_id": 0,
}
ROBERTA: dict[str, Any] = {
    "model_type": "roberta",
    "vocab_size": 50265,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "hidden_act": "gelu",
    "max_position_embeddings": 514,
    "type_vocab_size": 1,
    "layer_norm_eps": 1e-5,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
}
TEXT_TOWER = {"context_length": 77, "width": 1024, "heads": 16, "layers": 16, "vocab_size": 49408}
SMALL_IMAGE_TOWER = {"dim_embed": [32, 64, 128, 256], "num_heads": [1, 2, 4, 8], "num_groups": [1, 2, 4, 8]}
LIGHTNING, WEIGHTS = "AlignScore-base.ckpt", "weights.safetensors"


def write(name: str, folder: Path, captions: Sequence[str], gpt2: Path) -> Path:
    """Write the checkpoint of one metric below `folder`, with seeded random weights, unless it exists; return its path.

    `gpt2`: the folder of GPT-2's vocab.json and merges.txt, which DeBERTa and RoBERTa use. Without them, and for the
    other metrics, vocabularies are learned from the captions.
    """
    path = folder / name
    if name in WRITERS and not path.exists():
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        torch.manual_seed(SEED)
        with files.atomic_folder(path) as unfinished:
            WRITERS[name](unfinished, captions, gpt2)
    return path


def write_deberta(folder: Path, captions: Sequence[str], gpt2: Path) -> None:
    """DeBERTa-base for BERTScore."""
    from transformers import DebertaConfig, DebertaModel, DebertaTokenizer

    vocabulary, merges = vocabularies.byte_level(
        captions, DEBERTA["vocab_size"], ("[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"), gpt2
    )
    tokenizer = DebertaTokenizer(vocab=vocabulary, merges=merges, model_max_length=512)
    with torch.device("meta"):
        model = DebertaModel(DebertaConfig(**DEBERTA))
    model.to_empty(device="cpu")
    _draw(model)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def write_bleurt(folder: Path, captions: Sequence[str], gpt2: Path) -> None:
    """BLEURT-20-D12."""
    from radcap.metrics import bleurt

    (folder / bleurt.TOKENIZER).write_bytes(vocabularies.pieces(map(preprocess, captions), bleurt.SPECIAL_TOKENS))
    model = bleurt.build_model(BLEURT)
    _draw(model)
    tensors = {bleurt.published_name(name): tensor for name, tensor in model.state_dict().items()}
    save_file(tensors, folder / bleurt.WEIGHTS[0], {"format": "pt"})
    files.write_json(folder / bleurt.CONFIG, BLEURT)


def write_alignscore(folder: Path, captions: Sequence[str], gpt2: Path) -> None:
    """AlignScore-base's Lightning file, and radcap's conversion of it in `converted`."""
    from transformers import RobertaConfig, RobertaForMaskedLM, RobertaModel

    from radcap.metrics import alignscore_checkpoint as layout

    vocabulary, merges = vocabularies.byte_level(
        captions, DEBERTA["vocab_size"], ("<s>", "<pad>", "</s>", "<unk>", "<mask>"), gpt2
    )
    vocabularies.write(folder, vocabulary, merges)
    config = RobertaConfig(**ROBERTA)
    files.write_json(folder / layout.CONFIG, ROBERTA)
    heads = {name: nn.Linear(config.hidden_size, outputs) for name, outputs in layout.HEADS.items()}
    parts: dict[str, nn.Module] = {"base_model": RobertaModel(config), "mlm_head": RobertaForMaskedLM(config).lm_head}
    network = nn.ModuleDict(parts | heads)
    _draw(network)
    lightning = {"state_dict": dict(network.state_dict()), "hyper_parameters": {"model": "roberta-base"}}
    torch.save(lightning, folder / LIGHTNING)
    layout.convert(folder / LIGHTNING, folder / "converted")


def write_similarity(folder: Path, captions: Sequence[str], gpt2: Path) -> None:
    """MedImageInsight with the published text tower and a narrow image tower."""
    from radcap.metrics.medimageinsight import MedImageInsight, weights

    image = weights.PUBLISHED["image_encoder"] | SMALL_IMAGE_TOWER
    settings = weights.PUBLISHED | {"image_encoder": image, "text_encoder": TEXT_TOWER | {"layer_norm_eps": 1e-12}}
    model = MedImageInsight(settings)
    _draw(model)
    tensors = {weights.published_name(name): tensor for name, tensor in model.state_dict().items()}
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / WEIGHTS, {"format": "pt"})
    files.write_json(folder / "config.json", settings)
    vocabularies.write(folder, *vocabularies.clip(captions))


def write_medcat(folder: Path, captions: Sequence[str], gpt2: Path) -> None:
    from scoring.concepts import build_pack

    build_pack(folder, captions)


WRITERS: dict[str, Callable[[Path, Sequence[str], Path], None]] = {
    "bertscore": write_deberta,
    "bleurt": write_bleurt,
    "alignscore": write_alignscore,
    "similarity": write_similarity,
    "umls_f1": write_medcat,
}


@torch.no_grad()
def _draw(model: nn.Module) -> None:
    """Draw normal weights, norms around one, and small biases that are not zero, so that a missing bias would show."""
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if not tensor.is_floating_point():
            continue
        is_norm = "norm" in name.lower() or ".ln_" in name
        tensor.normal_(1.0 if is_norm and name.endswith("weight") else 0.0, STD / 4 if is_norm else STD)
