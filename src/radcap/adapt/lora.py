"""Adding LoRA adapters to a base model, and loading the base in 4 bits (QLoRA)."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from radcap.adapt.strategies import Targets, resolve_targets
from radcap.errors import UserError
from radcap.models.base import LoadedModel
from radcap.settings import Lora, PublishedRow

if TYPE_CHECKING:
    from peft import PeftModel


def add_lora(loaded: LoadedModel, lora: Lora, published: PublishedRow) -> tuple[PeftModel, Targets]:
    """Wrap a base model with new adapters. The strategy determines the target modules.

    Rank and alpha come from the settings, or from the model's published row. All trainable weights are float32,
    whatever the dtype of the base.
    """
    from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training

    targets = resolve_targets(
        lora.strategy,
        loaded.family.inventory(loaded.model),
        published=published,
        vision_tower=lora.vision_tower,
    )
    r, alpha = rank_and_alpha(lora, published)
    config = LoraConfig(
        r=r,
        lora_alpha=alpha,
        lora_dropout=lora.dropout,
        use_rslora=lora.rslora,
        use_dora=lora.dora,
        target_modules=list(targets.lora),
        modules_to_save=list(targets.full) or None,
        # Keeps head and embeddings tied if they are one weight; otherwise saving and merging would lose the head.
        ensure_weight_tying=bool(targets.full) and is_tied(loaded),
        bias="none",
    )
    if lora.quantize == "4bit":
        loaded.model = prepare_model_for_kbit_training(loaded.model, use_gradient_checkpointing=False)
    dtype = loaded.model.dtype
    model = get_peft_model(loaded.model, config)
    # peft does this only for adapters. In a fully trained bfloat16 module, most updates would be rounded away.
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    if targets.full:
        # Hidden states keep the dtype of the base even if the embeddings are float32.
        model.get_input_embeddings().register_forward_hook(lambda module, inputs, hidden: hidden.to(dtype))
    return model, targets


def rank_and_alpha(lora: Lora, published: PublishedRow) -> tuple[int, int]:
    """Rank and alpha from the settings, or from the model's published row where the settings say so."""
    r = published.r if lora.r == "published" else lora.r
    return r, published.alpha if lora.alpha == "published" else lora.alpha


def is_tied(loaded: LoadedModel) -> bool:
    """Whether the head and the embeddings are the same weight."""
    head = loaded.model.get_output_embeddings()
    return head is not None and head.weight is loaded.model.get_input_embeddings().weight


def four_bit_options(dtype: str) -> dict[str, Any]:
    """Options for from_pretrained that load a base in 4 bits and compute in `dtype`.

    NF4 with double quantization by bitsandbytes (QLoRA, Dettmers et al. 2023). UserError without a GPU or without
    bitsandbytes.
    """
    import torch

    if not torch.cuda.is_available():
        raise UserError("lora.quantize: '4bit' needs a CUDA GPU, but there is none; set it to 'none'")
    if find_spec("bitsandbytes") is None:
        raise UserError("lora.quantize: '4bit' needs the package bitsandbytes; pip install 'radcap[qlora]'")
    from transformers import BitsAndBytesConfig

    config = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=getattr(torch, dtype),
    )
    return {"quantization_config": config, "device_map": {"": 0}}
