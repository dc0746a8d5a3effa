"""Sections of params.yaml for prompts, decoding, scoring and the report."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from radcap.settings.section import Count, Positive, ProtocolName, Rate, Section


class ModalityPrompt(Section):
    """The prompt `modality`: the source of its labels, and the lowest probability at which a label is used."""

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


class Bins(Section):
    """Upper bounds of bins, inclusive. One more bin holds all values above the last bound."""

    words: tuple[Count, ...] = Field(strict=False)
    concepts: tuple[Count, ...] = Field(strict=False)

    @field_validator("words", "concepts")
    @classmethod
    def _increasing(cls, ends: tuple[int, ...]) -> tuple[int, ...]:
        if list(ends) != sorted(set(ends)):
            raise ValueError(f"the bounds of bins must increase, not {', '.join(map(str, ends))}")
        return ends


class PageImages(Section):
    """Limits in MiB for test images: inside the page, then in files beside it. Further images are left out."""

    page: Count
    beside: Count


class Report(Section):
    resamples: Annotated[int, Field(ge=100)]
    confidence: Rate
    alpha: Rate
    examples: Count
    images: PageImages
    bins: Bins
