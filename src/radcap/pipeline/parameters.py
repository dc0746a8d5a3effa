"""The parameters that each stage reads, as data: change one, and just these stages run again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from radcap.settings import Settings

# Keys of the whole tree; `profile.` is the active profile, `model.` the stage's model, `tuning` the section that trains
# it (lora or full). A key with a minus is left out again.
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
# One of each per model.
MODEL_STAGES = ("base", "finetune", "generate", "score")


def parameters(settings: Settings, stage: str, model: str | None = None) -> dict[str, Any]:
    """{key: value} of what a stage reads, as plain JSON values."""
    tree = settings.model_dump(mode="json")
    tuning = settings.model(model).tuning if model else ""
    found: dict[str, Any] = {}
    for key in READS[stage]:
        if key.startswith("-"):
            section, _, name = key[1:].rpartition(".")
            found[section] = {inner: value for inner, value in found[section].items() if inner != name}
        else:
            found[key] = _value(tree, key, profile=settings.profile, model=model, tuning=tuning)
    if stage == "base" and settings.active.weights == "published":
        # Published weights come as they are.
        del found["profile.pretrain"], found["model.miniature"]
    return found


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
