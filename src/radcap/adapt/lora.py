"""Put fresh adapters on a base."""

from __future__ import annotations

from typing import TYPE_CHECKING

from radcap.adapt.strategies import Targets, targets
from radcap.models.base import Loaded
from radcap.settings import Lora, PublishedRow

if TYPE_CHECKING:
    from peft import PeftModel


def add_lora(loaded: Loaded, lora: Lora, published: PublishedRow) -> tuple[PeftModel, Targets]:
    """Wrap a base in fresh adapters: rank, alpha and targets by the strategy, overrides by the settings."""
    from peft import LoraConfig, get_peft_model

    chosen = targets(
        lora.strategy,
        loaded.family.inventory(loaded.model),
        published=published,
        vision_tower=lora.vision_tower,
    )
    config = LoraConfig(
        r=published.r if lora.r == "published" else lora.r,
        lora_alpha=published.alpha if lora.alpha == "published" else lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=list(chosen.lora),
        modules_to_save=list(chosen.full) or None,
        bias="none",
    )
    return get_peft_model(loaded.model, config), chosen
