"""Names of parameters with and without peft's wrappers, and their learning rates."""

from __future__ import annotations

import re
from collections.abc import Callable

from radcap.models.family import Family
from radcap.settings import Rates


def base_name(name: str) -> str:
    """The name of a parameter in the base model, without the parts that peft adds."""
    name = name.removeprefix("base_model.model.")
    name = re.sub(r"\.lora_(A|B|embedding_A|embedding_B|magnitude_vector)\.default", "", name)
    return re.sub(r"\.(base_layer|original_module|modules_to_save\.default)\b", "", name)


def is_adapter(name: str) -> bool:
    """Whether a parameter was added by peft: a LoRA matrix, or the trainable copy of a module."""
    return ".lora_" in name or ".modules_to_save." in name


def learning_rate_factor(family: Family, rates: Rates) -> Callable[[str], float]:
    """A function from a parameter's name to the factor on the run's learning rate for it.

    Connector, head and embeddings have their own factors, whether they are fully trained or adapted. All other
    adapters share one. A fully trained vision tower or language model has the factor 1.
    """
    component_rates = {"connector": rates.connector, "head": rates.head, "embeddings": rates.embeddings}

    def factor(name: str) -> float:
        default = rates.adapters if ".lora_" in name else 1.0
        return component_rates.get(family.component(base_name(name)) or "", default)

    return factor
