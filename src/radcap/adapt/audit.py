"""What is trainable in each component, and the proof that it is exactly what a strategy names."""

from __future__ import annotations

from collections import Counter
from typing import Any

from radcap.adapt.parameters import base_name, is_adapter
from radcap.adapt.strategies import Targets
from radcap.errors import UserError
from radcap.models.family import Family


class AuditError(UserError):
    """The trainable parameters of a model are not those of its strategy."""


def audit(
    family: Family, model: Any, *, variant: str, targets: Targets | None, components: frozenset[str] | None
) -> dict[str, Any]:
    """Trainable and total parameters per component, the scaling of the adapters, and the matched modules.

    `targets` and `components` are the modules and the components of the strategy; None for both when all weights
    train. A weight that two components share (tied embeddings and head) is counted once, for the first of them.
    AuditError when a component of the strategy has nothing trainable, when another component has, when a parameter
    outside the target modules is trainable, or when a target module is not.
    """
    total: Counter[str] = Counter()
    trained: Counter[str] = Counter()
    for name, parameter in model.named_parameters():
        component = family.component(base_name(name)) or "other"
        total[component] += 0 if is_adapter(name) else _size(parameter)
        trained[component] += parameter.numel() if parameter.requires_grad else 0
    trainable_modules = {
        base_name(name).rpartition(".")[0]
        for name, parameter in model.named_parameters(remove_duplicate=False)
        if parameter.requires_grad
    }
    if targets is not None and components is not None:
        _check(family, variant, trainable_modules, targets, components)
    all_components = dict.fromkeys((*family.components.values(), *total))
    return {
        "variant": variant,
        "trained": trained.total(),
        "total": total.total(),
        "percent": round(100 * trained.total() / total.total(), 4),
        **_scaling(model),
        "components": {c: {"trained": trained[c], "total": total[c]} for c in all_components},
        "lora_modules": list(targets.lora) if targets else [],
        "full_modules": list(targets.full) if targets else ["*"],
    }


def _check(
    family: Family, variant: str, trainable_modules: set[str], targets: Targets, components: frozenset[str]
) -> None:
    trainable_components = {family.component(name) or "other" for name in trainable_modules}
    if trainable_components != components:
        missing, unexpected = sorted(components - trainable_components), sorted(trainable_components - components)
        problems = [f"nothing in {', '.join(missing)} is trainable"] * bool(missing)
        problems += [f"{', '.join(unexpected)} must not be trainable"] * bool(unexpected)
        raise AuditError(f"audit of strategy {variant!r}: {'; '.join(problems)}")
    # A fully trained module includes its children (such as IDEFICS' additional embeddings).
    fully_trained = tuple(f"{name}." for name in targets.full)
    expected = {*targets.lora, *targets.full}
    wrong = {name for name in trainable_modules ^ expected if not name.startswith(fully_trained)}
    if wrong:
        raise AuditError(
            f"audit of strategy {variant!r}: {len(wrong)} modules differ from those of the strategy, first {min(wrong)}"
        )


def _scaling(model: Any) -> dict[str, Any]:
    """Rank, alpha, and the factor on the adapters' output: alpha / r, or alpha / sqrt(r) with rsLoRA."""
    config = getattr(model, "peft_config", {}).get("default")
    if config is None:
        return {"r": None, "alpha": None, "scaling": None}
    scaling = config.lora_alpha / (config.r**0.5 if config.use_rslora else config.r)
    return {"r": config.r, "alpha": config.lora_alpha, "scaling": round(scaling, 6)}


def _size(parameter: Any) -> int:
    """The number of weights in a parameter. bitsandbytes packs two 4-bit weights into a byte and keeps the original
    shape separately."""
    state = getattr(parameter, "quant_state", None)
    return int((parameter if state is None else state).shape.numel())
