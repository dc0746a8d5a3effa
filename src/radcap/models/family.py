"""What every model family answers: how to build, load, and feed its models, and what its modules are."""

from __future__ import annotations

import importlib
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from radcap.settings import Miniature

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image
    from transformers import PreTrainedModel

Tensors = dict[str, "torch.Tensor"]


@dataclass(frozen=True)
class Module:
    """A linear or embedding module: its component of the model, and its kind of projection within it."""

    name: str
    component: str
    kind: str
    parameters: int

    @property
    def selector(self) -> str:
        return f"{self.component}.{self.kind}"


class Family(ABC):
    """One adapter class per family. `components` maps a pattern of module names to a component, first match wins;
    `kinds` maps the last part of a module's name to its kind of projection."""

    model_class: ClassVar[Any]
    components: ClassVar[Mapping[str, str]]
    kinds: ClassVar[Mapping[str, str]]
    # The name under which the model takes the text's token ids.
    ids: ClassVar[str] = "input_ids"

    @abstractmethod
    def miniature(self, size: Miniature, texts: Iterable[str]) -> tuple[PreTrainedModel, Any]:
        """A randomly initialised small model of the published class, and its processor with a trained tokenizer."""

    def load_model(self, source: str, *, revision: str | None, dtype: str) -> PreTrainedModel:
        """The model of a hub repository or local folder, which may hold published weights or a miniature.

        ValueError where weights are missing or of another shape: transformers would draw them at random.
        """
        model, report = self.model_class.from_pretrained(
            source, revision=revision, dtype=dtype, output_loading_info=True
        )
        wrong = sorted(report["missing_keys"]) + sorted(str(key) for key in report["mismatched_keys"])
        if wrong:
            raise ValueError(f"{len(wrong)} weights are missing or of another shape, first {wrong[0]}")
        return model

    @abstractmethod
    def load_processor(self, source: str, *, revision: str | None) -> Any:
        """The processor of the same place."""

    def save_processor(self, processor: Any, folder: str) -> None:
        processor.save_pretrained(folder)

    def tokenizer(self, processor: Any) -> Any:
        return processor.tokenizer

    def end_id(self, processor: Any) -> int:
        """The token that ends a caption."""
        return int(self.tokenizer(processor).eos_token_id)

    def pad_id(self, processor: Any) -> int:
        tokenizer = self.tokenizer(processor)
        return int(tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id)

    def encode_prompt(self, processor: Any, image: Image, prompt: str) -> Tensors:
        """The model's inputs for one image and prompt, each with a first dimension of 1."""
        return dict(processor(images=[image], text=[prompt], return_tensors="pt"))

    def caption_ids(self, processor: Any, caption: str) -> list[int]:
        """The caption's tokens as they follow the prompt, without an end token."""
        return list(self.tokenizer(processor)(" " + caption, add_special_tokens=False)["input_ids"])

    def component(self, name: str) -> str | None:
        """The component that a module or parameter belongs to."""
        return next((c for pattern, c in self.components.items() if re.match(pattern, name)), None)

    def inventory(self, model: PreTrainedModel) -> tuple[Module, ...]:
        """Every linear and embedding module of the model (never its adapters'), by component and kind."""
        from torch import nn

        found = []
        for name, module in model.named_modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                component = self.component(name) or "other"
                kind = (
                    "embedding"
                    if isinstance(module, nn.Embedding)
                    else self.kinds.get(name.rpartition(".")[2], "other")
                )
                found.append(Module(name, component, kind, sum(p.numel() for p in module.parameters())))
        return tuple(found)


def family(name: str) -> Family:
    """The adapter of a family by its name, which is also its module's name."""
    module = importlib.import_module(f"radcap.models.families.{name}")
    found: Family = module.FAMILY
    return found
