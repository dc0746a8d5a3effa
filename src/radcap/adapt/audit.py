"""What trains, per component: the proof that a strategy reached what it names and nothing else."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from radcap.adapt.strategies import Targets
from radcap.errors import UserError
from radcap.models.family import Family


class AuditError(UserError):
    """A model trains something else than its strategy says."""


def audit(
    family: Family, model: Any, *, variant: str, chosen: Targets | None, named: frozenset[str] | None
) -> dict[str, Any]:
    """Trainable and total parameters per component, the adapters' scaling, and the matched modules.

    `chosen` are the modules and `named` the components of the strategy; None for both: everything trains.
    Weights that two components share (tied embeddings and head) count once, with the first.
    AuditError when a component that the strategy names got nothing or another got something, or a parameter
    trains outside the chosen modules, or a chosen module does not train.
    """
    total: Counter[str] = Counter()
    trained: Counter[str] = Counter()
    for name, parameter in model.named_parameters():
        component = family.component(plain_name(name)) or "other"
        total[component] += 0 if _is_adapter(name) else _count(parameter)
        trained[component] += parameter.numel() if parameter.requires_grad else 0
    reached = {
        plain_name(name).rpartition(".")[0]
        for name, parameter in model.named_parameters(remove_duplicate=False)
        if parameter.requires_grad
    }
    if chosen is not None and named is not None:
        _check(family, variant, reached, chosen, named)
    components = dict.fromkeys((*family.components.values(), *total))
    return {
        "variant": variant,
        "trained": trained.total(),
        "total": total.total(),
        "percent": round(100 * trained.total() / total.total(), 4),
        **_scaling(model),
        "components": {c: {"trained": trained[c], "total": total[c]} for c in components},
        "lora_modules": list(chosen.lora) if chosen else [],
        "full_modules": list(chosen.full) if chosen else ["*"],
    }


def _check(family: Family, variant: str, reached: set[str], chosen: Targets, named: frozenset[str]) -> None:
    found = {family.component(name) or "other" for name in reached}
    if found != named:
        without, beyond = sorted(named - found), sorted(found - named)
        told = [f"nothing of {', '.join(without)} trains"] * bool(without) + [
            f"{', '.join(beyond)} trains besides"
        ] * bool(beyond)
        raise AuditError(f"audit of strategy {variant!r}: {'; '.join(told)}")
    # Children of a module that trains in full (IDEFICS' additional embeddings) belong to it.
    within = tuple(f"{name}." for name in chosen.full)
    expected = {*chosen.lora, *chosen.full}
    wrong = {name for name in reached ^ expected if not name.startswith(within)}
    if wrong:
        raise AuditError(
            f"audit of strategy {variant!r}: {len(wrong)} modules differ from the strategy's, first {min(wrong)}"
        )


def _scaling(model: Any) -> dict[str, Any]:
    """Rank, alpha and the factor on the adapters' output: alpha / r, or alpha / sqrt(r) under rsLoRA."""
    config = getattr(model, "peft_config", {}).get("default")
    if config is None:
        return {"r": None, "alpha": None, "scaling": None}
    scaling = config.lora_alpha / (config.r**0.5 if config.use_rslora else config.r)
    return {"r": config.r, "alpha": config.lora_alpha, "scaling": round(scaling, 6)}


def plain_name(name: str) -> str:
    """A parameter's name in the base model, without what peft wraps around it."""
    name = name.removeprefix("base_model.model.")
    name = re.sub(r"\.lora_(A|B|embedding_A|embedding_B|magnitude_vector)\.default", "", name)
    return re.sub(r"\.(base_layer|original_module|modules_to_save\.default)\b", "", name)


def _count(parameter: Any) -> int:
    """Numbers in a parameter: bitsandbytes packs two 4-bit ones in a byte, and keeps the shape aside."""
    state = getattr(parameter, "quant_state", None)
    return int((parameter if state is None else state).shape.numel())


def _is_adapter(name: str) -> bool:
    return ".lora_" in name or ".modules_to_save." in name
