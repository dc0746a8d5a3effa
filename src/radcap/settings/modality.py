"""The modality classifier."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from radcap.settings.section import Fraction, ModalityRule, Positive, Schedule, Section


class Augmentation(Section):
    """Largest random changes of a training image: rotation in degrees; shift, zoom and contrast as fractions."""

    rotation: Annotated[float, Field(ge=0, le=180)]
    shift: Fraction
    zoom: Fraction
    contrast: Fraction


class ModalityMiniature(Section):
    """Sizes of the small ResNet: input pixels, channels of the stem, channels and blocks of each stage."""

    image_size: Annotated[int, Field(ge=8)]
    embedding: Positive
    # A bottleneck has a quarter of the channels of its stage.
    widths: tuple[Annotated[int, Field(ge=4)], ...] = Field(strict=False, min_length=1)
    depths: tuple[Positive, ...] = Field(strict=False, min_length=1)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if len(self.widths) != len(self.depths):
            raise ValueError(f"{len(self.widths)} widths and {len(self.depths)} depths; each stage needs one of both")
        return self


class Modality(Section):
    """The modality classifier. `none`, `several`: what to do with images whose concepts name no modality, or more."""

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
