"""params.yaml and configs/ as one frozen, validated tree.

The code holds no defaults: these files say everything that a run did. A mistake is reported in one line with the key,
its value and the allowed values.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from radcap.errors import UserError, first_mistake
from radcap.settings.captioning import Bins, Generate, ModalityPrompt, PageImages, Prompt, Report, Score
from radcap.settings.files import MINIATURES, MODALITY, MODELS, PARAMS, SCORERS, read_folder, read_tree
from radcap.settings.modality import Augmentation, Modality, ModalityMiniature
from radcap.settings.model import Miniature, Model, PublishedRow, check_model
from radcap.settings.profile import (
    Data,
    Loader,
    LoraRun,
    Pretrain,
    Profile,
    ProfileGenerate,
    ProfileModality,
    Run,
    Scorers,
    ScorerSteps,
)
from radcap.settings.section import (
    Component,
    Count,
    FamilyName,
    ModalityRule,
    ProfileName,
    PromptName,
    ProtocolName,
    Schedule,
    Section,
    StrategyName,
)
from radcap.settings.training import Full, Lora, Phase, Plateau, Rates, Resume, Train

__all__ = [
    "MINIATURES",
    "MODALITY",
    "MODELS",
    "PARAMS",
    "SCORERS",
    "Augmentation",
    "Bins",
    "Component",
    "Data",
    "FamilyName",
    "Full",
    "Generate",
    "Loader",
    "Lora",
    "LoraRun",
    "Miniature",
    "Modality",
    "ModalityMiniature",
    "ModalityPrompt",
    "ModalityRule",
    "Model",
    "PageImages",
    "Phase",
    "Plateau",
    "Pretrain",
    "Profile",
    "ProfileGenerate",
    "ProfileModality",
    "ProfileName",
    "Prompt",
    "PromptName",
    "ProtocolName",
    "PublishedRow",
    "Rates",
    "Report",
    "Resume",
    "Run",
    "Schedule",
    "Score",
    "ScorerSteps",
    "Scorers",
    "Section",
    "Settings",
    "StrategyName",
    "Train",
    "load",
    "parse",
    "read_tree",
]


class Settings(Section):
    seed: Count
    profile: ProfileName
    profiles: dict[ProfileName, Profile]
    lora: Lora
    full: Full
    train: Train
    prompt: Prompt
    generate: Generate
    score: Score
    modality: Modality
    report: Report
    models: dict[str, Model]

    @property
    def active(self) -> Profile:
        """The settings of the chosen profile."""
        return self.profiles[self.profile]

    def model(self, key: str) -> Model:
        """The settings of one model. UserError for an unknown key."""
        if key not in self.models:
            raise UserError(f"unknown model {key!r}; allowed: {', '.join(self.models)}")
        return self.models[key]

    @property
    def adapters(self) -> Lora:
        """The section `lora`, with the profile's dropout if its own says `profile`."""
        if self.lora.dropout != "profile":
            return self.lora
        return self.lora.model_copy(update={"dropout": self.active.lora.dropout})

    def variant(self, key: str) -> str:
        """How a model is trained: the name of the adapter strategy, or `full`."""
        return self.lora.strategy if self.model(key).tuning == "lora" else "full"


def parse(tree: Mapping[str, Any]) -> Settings:
    """Validate a plain tree. UserError with the first mistake and the number of further ones, in one line."""
    try:
        settings = Settings.model_validate(tree)
    except ValidationError as error:
        raise UserError(_in_file(first_mistake(error))) from None
    _check_whole(settings)
    return settings


def load(root: Path = Path()) -> Settings:
    """Read and validate params.yaml and configs/ in the project's root. UserError in one line."""
    return parse(read_tree(read_folder(root)))


# The file that holds a key of the tree, for keys outside params.yaml.
_FILES = (
    (r"models\.([a-z0-9_]+)[.:] ?", rf"{MODELS}/\1.yaml: "),
    (r"modality\.((?!none|several)\w)", rf"{MODALITY}: \1"),
    (r"profiles\.\w+\.pretrain\.", f"{MINIATURES}: pretrain."),
    (r"profiles\.\w+\.data\.(train|valid|test)\b", rf"{MINIATURES}: phantoms.\1"),
    (r"profiles\.\w+\.data\.(pictures|diagrams)\b", rf"{MINIATURES}: general.\1"),
    (r"profiles\.\w+\.scorers\.steps\b", f"{MINIATURES}: scorers.steps"),
    (r"profiles\.\w+\.scorers\.((?!weights|dtype)\w)", rf"{SCORERS}: \1"),
)


def _in_file(mistake: str) -> str:
    """The mistake with the file and the key that the user has to change."""
    for pattern, name in _FILES:
        mistake, count = re.subn(rf"^{pattern}", name, mistake)
        if count:
            break
    return mistake


def _check_whole(settings: Settings) -> None:
    if settings.profile not in settings.profiles:
        raise UserError(f"profile: {settings.profile!r} has no block under profiles")
    if not settings.models:
        raise UserError("models: no model is listed; at least one is needed")
    for key, model in settings.models.items():
        check_model(key, model)
