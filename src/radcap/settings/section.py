"""The base class of all sections of params.yaml, and the types of their values."""

import difflib
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

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
