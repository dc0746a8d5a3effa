"""What models are asked, how captions are decoded and scored, and what the report makes of them."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from radcap.settings.section import Count, Positive, ProtocolName, Rate, Section


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
