"""The parameters that each stage reads, as data: change one, and just these stages run again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from radcap.settings import Settings

# Keys of the settings. `profile.` stands for the active profile, `model.` for the model of the stage, `tuning` for the
# section that trains it (lora or full). A leading minus removes a key again.
READS: Mapping[str, tuple[str, ...]] = {
    "prepare": ("seed", "profile.data"),
    "modality": (
        *("seed", "profile.threads", "profile.weights", "profile.dtype", "profile.loader", "profile.modality"),
        "modality",
    ),
    "base": (
        *("seed", "profile.threads", "profile.weights", "profile.pretrain"),
        *("model.family", "model.checkpoint", "model.revision", "model.image", "model.template", "model.miniature"),
    ),
    "finetune": (
        *("seed", "profile.threads", "profile.dtype", "profile.loader", "profile.tuning", "tuning"),
        *("train", "-train.resume", "prompt.instruction"),
        *("model.family", "model.tuning", "model.template", "model.training_instruction", "model.published"),
    ),
    "generate": (
        *("seed", "profile.threads", "profile.dtype", "profile.generate", "generate", "prompt"),
        *("model.family", "model.template", "model.modality_instruction", "model.prompts"),
    ),
    "scorers": ("seed", "profile.threads", "profile.scorers"),
    "score": ("profile.threads", "score"),
    "aggregate": (
        *("seed", "profile", "profile.data.source", "profile.weights", "profile.dtype", "profile.lora", "profile.full"),
        *("lora", "train", "-train.resume", "prompt", "generate", "score", "report", "models"),
    ),
}
STAGES = tuple(READS)
# Stages that run once per model.
MODEL_STAGES = ("base", "finetune", "generate", "score")


def parameters(settings: Settings, stage: str, model: str | None = None) -> dict[str, Any]:
    """The parameters that a stage reads: {key: value}, with plain JSON values."""
    tree = settings.model_dump(mode="json")
    tuning = settings.model(model).tuning if model else ""
    values: dict[str, Any] = {}
    for key in READS[stage]:
        if key.startswith("-"):
            section, _, name = key[1:].rpartition(".")
            values[section] = {inner: value for inner, value in values[section].items() if inner != name}
        else:
            values[key] = _value(tree, key, profile=settings.profile, model=model, tuning=tuning)
    if stage == "base" and settings.active.weights == "published":
        # Published weights are used as they are.
        del values["profile.pretrain"], values["model.miniature"]
    return values


def _value(tree: Mapping[str, Any], key: str, *, profile: str, model: str | None, tuning: str) -> Any:
    if key == "profile":
        return tree["profile"]
    first, *rest = key.split(".")
    roots = {
        **tree,
        "profile": tree["profiles"][profile],
        "model": tree["models"].get(model),
        "tuning": tree.get(tuning),
    }
    value: Any = roots[first]
    for name in rest:
        value = value[tuning if name == "tuning" and first == "profile" else name]
    return value
