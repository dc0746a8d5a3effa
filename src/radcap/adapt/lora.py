"""Put fresh adapters on a base."""

from __future__ import annotations

from typing import TYPE_CHECKING

from radcap.adapt.strategies import Targets, targets
from radcap.models.base import Loaded
from radcap.settings import Lora, PublishedRow

if TYPE_CHECKING:
    from peft import PeftModel


def add_lora(loaded: Loaded, lora: Lora, published: PublishedRow) -> tuple[PeftModel, Targets]:
    """Wrap a base in fresh adapters: rank, alpha and targets by the strategy, overrides by the settings.

    What trains is float32, whatever the base's dtype.
    """
    from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training

    chosen = targets(
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
        target_modules=list(chosen.lora),
        modules_to_save=list(chosen.full) or None,
        # Where head and embeddings are one weight they stay one; else the head would be lost on save and merge.
        ensure_weight_tying=bool(chosen.full) and tied(loaded),
        bias="none",
    )
    if lora.quantize == "4bit":
        loaded.model = prepare_model_for_kbit_training(loaded.model, use_gradient_checkpointing=False)
    dtype = loaded.model.dtype
    model = get_peft_model(loaded.model, config)
    # peft does so with its adapters alone: in bfloat16 most steps of a module that trains in full would round to none.
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    if chosen.full:
        # Hidden states stay in the base's dtype, whatever that of the embeddings.
        model.get_input_embeddings().register_forward_hook(lambda module, given, hidden: hidden.to(dtype))
    return model, chosen


def rank_and_alpha(lora: Lora, published: PublishedRow) -> tuple[int, int]:
    """The settings' rank and alpha, or the model's own."""
    r = published.r if lora.r == "published" else lora.r
    return r, published.alpha if lora.alpha == "published" else lora.alpha


def tied(loaded: Loaded) -> bool:
    """Whether the head is the embeddings' own weight."""
    head = loaded.model.get_output_embeddings()
    return head is not None and head.weight is loaded.model.get_input_embeddings().weight
