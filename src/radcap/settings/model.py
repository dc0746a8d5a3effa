"""A model's file in configs/models, and the rules for it."""

import re
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from radcap.errors import UserError
from radcap.settings.files import MODELS
from radcap.settings.section import FamilyName, Positive, PromptName, Section

# Folders in models/ that belong to no model.
RESERVED = ("base", "modality", "scorers")
SELECTOR = re.compile(r"(vision|connector|language|head)\.(\*|query|key|value|qkv|output|gate|up|down|fc1|fc2|linear)")


class Miniature(Section):
    """Sizes of the small model. model_type and text_type are the names of the published classes in transformers."""

    model_type: str
    text_type: str
    image_size: Positive
    patch_size: Positive
    vision_width: Positive
    vision_layers: Positive
    width: Positive
    layers: Positive
    heads: Positive
    key_value_heads: Positive
    vocabulary: Annotated[int, Field(ge=300)]


class PublishedRow(Section):
    """The model's row of the study's Table 3: LoRA rank, alpha, and targets as component.kind selectors."""

    r: Positive
    alpha: Positive
    targets: tuple[str, ...] = Field(strict=False, min_length=1)

    @field_validator("targets")
    @classmethod
    def _known(cls, targets: tuple[str, ...]) -> tuple[str, ...]:
        for target in targets:
            if not SELECTOR.fullmatch(target):
                raise ValueError(f"{target!r} is not a component.kind selector such as language.query or vision.*")
        return targets


class Model(Section):
    """One model.

    `family`: its package in radcap.models.families. `tuning`: the section of params.yaml that trains it. `checkpoint`:
    a hub id or a local folder. `image`: replaces settings of the published image processor, under the names of
    transformers. `template`: the prompt around {instruction}. `training_instruction`, `modality_instruction`: the
    instruction for training and for the prompt `modality`; {modality} stands for the image's modality. `prompts`: the
    prompts that it writes captions for. `published`: its row in the study's Table 3.
    """

    family: FamilyName
    tuning: Literal["lora", "full"]
    checkpoint: str = Field(min_length=1)
    revision: str = Field(min_length=1)
    template: str
    training_instruction: str
    modality_instruction: str
    prompts: tuple[PromptName, ...] = Field(strict=False, min_length=1)
    image: dict[str, Any] | Literal["none"]
    miniature: Miniature
    published: PublishedRow | None = None


def check_model(key: str, model: Model) -> None:
    """UserError if the key, a template, the prompts or the sizes are invalid."""
    if not re.fullmatch(r"[a-z0-9_]+", key) or key in RESERVED:
        raise UserError(f"models: {key!r} is no valid name; use a-z, 0-9 and _, but not {', '.join(RESERVED)}")
    where = f"{MODELS}/{key}.yaml"
    if model.tuning == "lora" and model.published is None:
        raise UserError(f"{where}: published is missing; a model with tuning lora needs r, alpha and targets")
    if set(re.findall(r"{(\w*)}", model.template)) != {"instruction"}:
        raise UserError(f"{where}: template: {model.template!r} must contain {{instruction}} and no other field")
    _check_prompts(where, model)
    size = model.miniature
    if size.image_size % size.patch_size or size.width % size.heads or size.vision_width % size.heads:
        raise UserError(f"{where}: miniature: image_size must be a multiple of patch_size, widths of heads")


def _check_prompts(where: str, model: Model) -> None:
    if "plain" not in model.prompts or len(set(model.prompts)) < len(model.prompts):
        raise UserError(f"{where}: prompts: must contain plain, and each prompt once")
    if "modality" in model.prompts and model.modality_instruction == "none":
        raise UserError(f"{where}: prompts: modality is not allowed if modality_instruction is none")
    for name in ("training_instruction", "modality_instruction"):
        instruction = getattr(model, name)
        if instruction == "none" and name == "modality_instruction":
            continue
        fields = set(re.findall(r"{(\w*)}", instruction))
        if not {"instruction"} <= fields <= {"instruction", "modality"}:
            raise UserError(
                f"{where}: {name}: {instruction!r} must contain {{instruction}}, and no other field except {{modality}}"
            )
