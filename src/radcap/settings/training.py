"""Sections of params.yaml for training: LoRA adapters, full fine-tuning, and what both share."""

from typing import Annotated, Literal, Self, get_args

from pydantic import Field, field_validator, model_validator

from radcap.settings.section import Component, Count, Factor, Fraction, Positive, Schedule, Section, StrategyName


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
    """A phase of full fine-tuning: its share of the steps, and the components that stay frozen."""

    share: Annotated[float, Field(gt=0, le=1)]
    frozen: tuple[Component, ...] = Field(strict=False)

    @field_validator("frozen")
    @classmethod
    def _something_trains(cls, frozen: tuple[str, ...]) -> tuple[str, ...]:
        if set(frozen) == set(get_args(Component)):
            raise ValueError("nothing would be trained with all components frozen")
        return frozen


class Plateau(Section):
    """ReduceLROnPlateau: multiply the rate by `factor` after `patience` epochs without a lower validation loss."""

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
    """When a fine-tune writes a checkpoint to resume from (0: never by this rule). It does not affect results."""

    every_steps: Count
    every_seconds: Count
    keep_days: Count


class Rates(Section):
    """Factors on the run's learning rate for parts of the model."""

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
