"""The parts of a profile: sizes, steps and checkpoints of one kind of machine."""

from typing import Annotated, Literal

from pydantic import Field

from radcap.settings.section import Count, Fraction, Positive, Rate, Section


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
        """Every n-th layer recomputes its activations; 0: no layer does."""
        return {"none": 0, "all": 1}[self.checkpointing] if isinstance(self.checkpointing, str) else self.checkpointing


class LoraRun(Run):
    """`learning_rate` is meant for adapters with alpha `reference_alpha`, if that is a number."""

    reference_alpha: Positive | Literal["none"]
    dropout: Fraction

    def rate(self, alpha: int) -> float:
        """The learning rate for adapters with this alpha.

        Adam changes every entry of B by about the learning rate. With the r rows of A, the output of a layer changes by
        rate * (alpha / r) * r. For steps of equal size the rate is therefore inversely proportional to alpha, whatever
        the rank is.
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
