"""What trained, per component: the proof that a strategy reached what it names and nothing else."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from radcap.adapt.strategies import Targets
from radcap.models.family import Family


def audit(family: Family, model: Any, *, variant: str, chosen: Targets | None) -> dict[str, Any]:
    """Trainable and total parameters per component, and the matched modules (None: everything trains).

    Raises AssertionError when a parameter trains outside the chosen modules, or a chosen module does not train.
    """
    total: Counter[str] = Counter()
    trained: Counter[str] = Counter()
    reached: set[str] = set()
    for name, parameter in model.named_parameters():
        plain = plain_name(name)
        component = family.component(plain) or "other"
        total[component] += 0 if _is_adapter(name) else parameter.numel()
        if parameter.requires_grad:
            trained[component] += parameter.numel()
            reached.add(plain.rpartition(".")[0])
    if chosen is not None:
        expected = {*chosen.lora, *chosen.full}
        assert reached == expected, f"trains {sorted(reached ^ expected)[:3]} against the strategy"
    components = dict.fromkeys(family.components.values())
    unknown = [c for c in total if c not in components]
    return {
        "variant": variant,
        "trained": sum(trained.values()),
        "total": sum(total.values()),
        "percent": round(100 * sum(trained.values()) / sum(total.values()), 4),
        "components": {c: {"trained": trained[c], "total": total[c]} for c in (*components, *unknown)},
        "lora_modules": list(chosen.lora) if chosen else [],
        "full_modules": list(chosen.full) if chosen else ["*"],
    }


def plain_name(name: str) -> str:
    """A parameter's name in the base model, without what peft wraps around it."""
    name = name.removeprefix("base_model.model.")
    name = re.sub(r"\.lora_(A|B|embedding_A|embedding_B)\.default", "", name)
    return re.sub(r"\.(base_layer|original_module|modules_to_save\.default)\b", "", name)


def _is_adapter(name: str) -> bool:
    return ".lora_" in name or ".modules_to_save." in name
