"""params.yaml as one frozen, validated tree.

There are no defaults in code: what a run did is what params.yaml says. A mistake is one line that
names the key, the value and what is allowed.
"""

import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from radcap.errors import UserError, first_mistake

ProfileName = Literal["sample", "rocov2"]
StrategyName = Literal["published", "targeted", "extended", "hybrid"]
ProtocolName = Literal["as-described", "imageclef-2025", "imageclef-2026"]
FamilyName = Literal["llava", "idefics", "qwen_vl", "moondream", "smolvlm", "vision_gpt2", "cnn_transformer"]
PromptName = Literal["plain", "modality"]
Schedule = Literal["cosine", "linear", "constant"]
ModalityRule = Literal["other", "drop"]
Component = Literal["vision", "connector", "embeddings", "language", "head"]

Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(gt=0)]
Rate = Annotated[float, Field(gt=0, lt=1)]
Factor = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, lt=1)]

SELECTOR = re.compile(r"(vision|connector|language|head)\.(\*|query|key|value|qkv|output|gate|up|down|fc1|fc2|linear)")


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, tree: Any) -> Any:
        for key in tree if isinstance(tree, dict) else ():
            if key not in cls.model_fields:
                close = difflib.get_close_matches(str(key), cls.model_fields, n=1)
                hint = f"did you mean {close[0]}?" if close else f"allowed: {', '.join(cls.model_fields)}"
                raise ValueError(f"unknown key {key!r}; {hint}")
        return tree


class Data(Section):
    source: Literal["phantoms", "folder"]
    path: str = Field(min_length=1)
    train: Count
    valid: Count
    test: Count
    pictures: Count
    diagrams: Count


class Pretrain(Section):
    steps: Count
    batch_size: Positive
    learning_rate: Rate


class Run(Section):
    epochs: Annotated[float, Field(gt=0)]
    batch_size: Positive
    accumulation: Positive
    learning_rate: Rate
    checkpointing: Positive | Literal["none", "all"]

    @property
    def recompute_every(self) -> int:
        """Every so-many-th layer recomputes its activations; 0: none."""
        return {"none": 0, "all": 1}[self.checkpointing] if isinstance(self.checkpointing, str) else self.checkpointing


class LoraRun(Run):
    """`learning_rate` holds for adapters of `reference_alpha`, if that is a number."""

    reference_alpha: Positive | Literal["none"]
    dropout: Fraction

    def rate(self, alpha: int) -> float:
        """The learning rate for adapters of an alpha.

        Adam moves every entry of B by the rate, and with A's r rows that moves a layer's output by
        rate * (alpha / r) * r: equal steps take a rate in inverse proportion to alpha, whatever the rank.
        """
        return (
            self.learning_rate if self.reference_alpha == "none" else self.learning_rate * self.reference_alpha / alpha
        )


class Loader(Section):
    workers: Count
    cache: bool


class ProfileGenerate(Section):
    batch_size: Positive
    processes: Positive
    base: bool


class ScorerSteps(Section):
    similarity: Count
    bertscore: Count
    bleurt: Count
    alignscore: Count


class Scorers(Section):
    weights: Literal["miniature", "published"]
    dtype: Literal["float32", "bfloat16"]
    steps: ScorerSteps
    deberta: str = Field(min_length=1)
    deberta_revision: str = Field(min_length=1)
    deberta_layer: Positive
    medcat_pack: str = Field(min_length=1)
    medimageinsight: str = Field(min_length=1)
    bleurt: str = Field(min_length=1)
    bleurt_revision: str = Field(min_length=1)
    alignscore: str = Field(min_length=1)
    punkt: str = Field(min_length=1)


class ProfileModality(Section):
    epochs: Positive
    batch_size: Annotated[int, Field(ge=2)]
    learning_rate: Rate


class Profile(Section):
    threads: Positive
    concept_processes: Positive
    data: Data
    weights: Literal["miniature", "published"]
    dtype: Literal["float32", "bfloat16"]
    pretrain: Pretrain
    lora: LoraRun
    full: Run
    loader: Loader
    modality: ProfileModality
    generate: ProfileGenerate
    scorers: Scorers


class Lora(Section):
    strategy: StrategyName
    r: Positive | Literal["published"]
    alpha: Positive | Literal["published"]
    dropout: Fraction | Literal["profile"]
    vision_tower: bool
    rslora: bool
    dora: bool
    quantize: Literal["none", "4bit"]
    weight_decay: Fraction
    warmup: Fraction
    schedule: Schedule


class Phase(Section):
    """A part of a full fine-tune: its share of the steps, and the components that it leaves as they are."""

    share: Annotated[float, Field(gt=0, le=1)]
    frozen: tuple[Component, ...] = Field(strict=False)

    @field_validator("frozen")
    @classmethod
    def _something_trains(cls, frozen: tuple[str, ...]) -> tuple[str, ...]:
        if set(frozen) == set(get_args(Component)):
            raise ValueError("with all components frozen nothing would train")
        return frozen


class Plateau(Section):
    """ReduceLROnPlateau on the validation loss: multiply the rate by `factor` after `patience` epochs without gain."""

    factor: Annotated[float, Field(gt=0, lt=1)]
    patience: Count


class Full(Section):
    weight_decay: Fraction
    warmup: Fraction
    schedule: Schedule | Literal["plateau"]
    plateau: Plateau
    phases: tuple[Phase, ...] = Field(strict=False)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        shares = sum(phase.share for phase in self.phases)
        if abs(shares - 1) > 1e-6:
            raise ValueError(f"phases: the shares of the phases must add up to 1, not {shares:g}")
        if self.schedule == "plateau" and self.warmup:
            raise ValueError("warmup must be 0.0 with schedule plateau")
        return self

    @property
    def never_trained(self) -> frozenset[str]:
        """Components that are frozen in every phase."""
        return frozenset.intersection(*(frozenset(phase.frozen) for phase in self.phases))


class Resume(Section):
    """When a fine-tune writes a state to go on from; 0: not by this. It decides no result."""

    every_steps: Count
    every_seconds: Count
    keep_days: Count


class Rates(Section):
    """What multiplies the run's learning rate for a part of the model."""

    adapters: Factor
    connector: Factor
    head: Factor
    embeddings: Factor


class Train(Section):
    max_grad_norm: Annotated[float, Field(gt=0)]
    max_caption_tokens: Annotated[int, Field(ge=2)]
    rates: Rates
    select_by: Literal["last", "valid_loss", "rouge1"]
    select_rows: Positive
    patience: Count
    processes: Positive
    accelerate: str = Field(min_length=1)
    deterministic: bool
    resume: Resume

    @model_validator(mode="after")
    def _something_to_wait_for(self) -> Self:
        if self.patience and self.select_by == "last":
            raise ValueError("patience must be 0 with select_by last, which compares no epochs")
        return self


class ModalityPrompt(Section):
    """What the prompt modality says: which labels, and from which probability on."""

    labels: Literal["predicted", "oracle"]
    threshold: Annotated[float, Field(ge=0, le=1)]


class Prompt(Section):
    instruction: str = Field(min_length=1)
    modality: ModalityPrompt


class Generate(Section):
    beams: Positive
    length_penalty: float
    repetition_penalty: Annotated[float, Field(gt=0)]
    no_repeat_ngram: Count
    max_new_tokens: Positive | Literal["p99"]


class Score(Section):
    protocol: ProtocolName


class Augmentation(Section):
    """How far a training image may change at random: degrees, and shares of its side, its size, its contrast."""

    rotation: Annotated[float, Field(ge=0, le=180)]
    shift: Fraction
    zoom: Fraction
    contrast: Fraction


class ModalityMiniature(Section):
    """Sizes of the small ResNet: the pixels of its input, its stem's channels, and each stage's channels and blocks."""

    image_size: Annotated[int, Field(ge=8)]
    embedding: Positive
    # a bottleneck has a quarter of its stage's channels
    widths: tuple[Annotated[int, Field(ge=4)], ...] = Field(strict=False, min_length=1)
    depths: tuple[Positive, ...] = Field(strict=False, min_length=1)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if len(self.widths) != len(self.depths):
            raise ValueError(f"{len(self.widths)} widths and {len(self.depths)} depths; a stage has one of each")
        return self


class Modality(Section):
    """The modality classifier. `none`, `several`: the rules for rows whose concepts name no modality, or more."""

    none: ModalityRule
    several: ModalityRule
    checkpoint: str = Field(min_length=1)
    revision: str = Field(min_length=1)
    balance: Annotated[float, Field(ge=0, le=1)]
    weight_decay: Fraction
    warmup: Fraction
    schedule: Schedule
    augmentation: Augmentation
    miniature: ModalityMiniature


class Bins(Section):
    """Upper ends, each within its bin; one more bin holds what is above the last."""

    words: tuple[Count, ...] = Field(strict=False)
    concepts: tuple[Count, ...] = Field(strict=False)

    @field_validator("words", "concepts")
    @classmethod
    def _rising(cls, ends: tuple[int, ...]) -> tuple[int, ...]:
        if list(ends) != sorted(set(ends)):
            raise ValueError(f"the ends of bins must rise, not {', '.join(map(str, ends))}")
        return ends


class PageImages(Section):
    """MiB of test images in the page itself, then in files beside it; what is beyond both is left out."""

    page: Count
    beside: Count


class Report(Section):
    resamples: Annotated[int, Field(ge=100)]
    confidence: Rate
    alpha: Rate
    examples: Count
    images: PageImages
    bins: Bins


class Miniature(Section):
    """Sizes of the small model. model_type and text_type are transformers' names of the published classes."""

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
                raise ValueError(f"{target!r} is no component.kind selector such as language.query or vision.*")
        return targets


class Model(Section):
    """One model. `image`: settings of the published image processor, under transformers' names, in its own place.

    `prompts`: which it captions with. `training_instruction`, `modality_instruction`: how the instruction is said in
    training and in the prompt modality, maybe with the image's modality.
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

    @field_validator("published", mode="before")
    @classmethod
    def _absent(cls, row: Any) -> Any:
        """A model that trains in full says none: DVC wants every key that a stage names."""
        return None if row == "none" else row


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
        """The block of the chosen profile."""
        return self.profiles[self.profile]

    def model(self, key: str) -> Model:
        """The block of one model; UserError for an unknown key."""
        if key not in self.models:
            raise UserError(f"unknown model {key!r}; allowed: {', '.join(self.models)}")
        return self.models[key]

    @property
    def adapters(self) -> Lora:
        """The section lora with the profile's dropout where it leaves that to the profile."""
        if self.lora.dropout != "profile":
            return self.lora
        return self.lora.model_copy(update={"dropout": self.active.lora.dropout})

    def variant(self, key: str) -> str:
        """How a model is trained: the adapter strategy's name, or full."""
        return self.lora.strategy if self.model(key).tuning == "lora" else "full"


def parse(tree: Mapping[str, Any]) -> Settings:
    """Validate a plain tree. UserError in one line (the first mistake, and how many more there are)."""
    try:
        settings = Settings.model_validate(tree)
    except ValidationError as error:
        raise UserError(first_mistake(error)) from None
    _check_whole(settings)
    return settings


def load(path: Path = Path("params.yaml")) -> Settings:
    """Read and validate params.yaml (YAML 1.2: DVC writes 5e-05, which YAML 1.1 reads as text)."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        tree = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} not found; run from the project's root") from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is no valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(tree, dict):
        raise UserError(f"{path} must hold keys such as seed, profile, models")
    return parse(tree)


def _check_whole(settings: Settings) -> None:
    if settings.profile not in settings.profiles:
        raise UserError(f"profile: {settings.profile!r} has no block under profiles")
    if not settings.models:
        raise UserError("models: no model left; at least one block is needed")
    for key, model in settings.models.items():
        where = f"models.{key}"
        if not re.fullmatch(r"[a-z0-9_]+", key):
            raise UserError(f"{where}: a model's key may hold a-z, 0-9 and _ only")
        if model.tuning == "lora" and model.published is None:
            raise UserError(f"{where}.published is missing; a model with tuning lora needs r, alpha and targets")
        if set(re.findall(r"{(\w*)}", model.template)) != {"instruction"}:
            raise UserError(f"{where}.template: {model.template!r} must hold {{instruction}} and no other field")
        _check_prompts(where, model)
        size = model.miniature
        if size.image_size % size.patch_size or size.width % size.heads or size.vision_width % size.heads:
            raise UserError(f"{where}.miniature: image_size must be a multiple of patch_size, widths of heads")


def _check_prompts(where: str, model: Model) -> None:
    if "plain" not in model.prompts or len(set(model.prompts)) < len(model.prompts):
        raise UserError(f"{where}.prompts: must hold plain, and no prompt twice")
    if "modality" in model.prompts and model.modality_instruction == "none":
        raise UserError(f"{where}.prompts: modality is not allowed where modality_instruction is none")
    for name in ("training_instruction", "modality_instruction"):
        said = getattr(model, name)
        if said == "none" and name == "modality_instruction":
            continue
        fields = set(re.findall(r"{(\w*)}", said))
        if not {"instruction"} <= fields <= {"instruction", "modality"}:
            raise UserError(f"{where}.{name}: {said!r} must hold {{instruction}}, and no other field but {{modality}}")
