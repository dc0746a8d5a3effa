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
    from transformers import PreTrainedConfig, PreTrainedModel

Tensors = dict[str, "torch.Tensor"]


# The last part of a module's name -> its kind of projection, for all families.
KINDS = {
    "q_proj": "query",
    "k_proj": "key",
    "v_proj": "value",
    "o_proj": "output",
    "out_proj": "output",
    "gate_proj": "gate",
    "up_proj": "up",
    "down_proj": "down",
    "fc1": "fc1",
    "fc2": "fc2",
}


@dataclass(frozen=True)
class Module:
    """A linear or embedding module: its component of the model, and its kind of projection within it.

    `inputs` and `outputs` are its features (of an embedding: rows and width); `parameters` counts its bias too.
    """

    name: str
    component: str
    kind: str
    inputs: int
    outputs: int
    parameters: int

    @property
    def selector(self) -> str:
        return f"{self.component}.{self.kind}"


class Family(ABC):
    """One adapter class per family. `components` maps a pattern of module names to a component, first match wins.
    A module's kind of projection is that of the first pattern of `extra_kinds` found in its name, else KINDS of the
    name's last part."""

    # transformers' model_type, as config.json states it -> model class.
    model_classes: ClassVar[Mapping[str, Any]]
    components: ClassVar[Mapping[str, str]]
    extra_kinds: ClassVar[Mapping[str, str]] = {}
    # The name under which the model takes the text's token ids.
    ids_name: ClassVar[str] = "input_ids"
    # Further inputs with an entry per token: they grow with the caption and are padded beside the ids.
    per_token_inputs: ClassVar[frozenset[str]] = frozenset()
    # Inputs whose first dimension is no example's: batches hold them end to end (Qwen's patches).
    concatenated_inputs: ClassVar[frozenset[str]] = frozenset()

    @abstractmethod
    def miniature(self, size: Miniature, texts: Iterable[str]) -> tuple[PreTrainedModel, Any]:
        """A randomly initialised small model of the published class, and its processor with a trained tokenizer."""

    def model_class(self, model_type: str) -> Any:
        """The class of a model_type. ValueError for one that is not this family's."""
        if model_type not in self.model_classes:
            raise ValueError(
                f"config.json says model_type {model_type!r}; this family reads {', '.join(self.model_classes)}"
            )
        return self.model_classes[model_type]

    def config(self, tree: dict[str, Any]) -> PreTrainedConfig:
        """The configuration that a config.json holds."""
        config: PreTrainedConfig = self.model_class(tree["model_type"]).config_class.from_dict(tree)
        return config

    def build(self, config: PreTrainedConfig) -> PreTrainedModel:
        """A model with fresh weights."""
        model: PreTrainedModel = self.model_class(config.model_type)(config)
        return model

    def load_model(self, source: str, *, revision: str | None, dtype: str, **options: Any) -> PreTrainedModel:
        """The model of a hub repository or local folder, which may hold published weights or a miniature.

        `options` go to from_pretrained. ValueError where weights are missing or of another shape: transformers
        would draw them at random.
        """
        from transformers import PreTrainedConfig

        tree, _ = PreTrainedConfig.get_config_dict(source, revision=revision)
        model, report = self.model_class(tree.get("model_type", "")).from_pretrained(
            source,
            revision=revision,
            dtype=dtype,
            output_loading_info=True,
            # A weight of another shape is reported with the missing ones, below.
            ignore_mismatched_sizes=True,
            **options,
        )
        wrong = sorted(report["missing_keys"]) + sorted(str(key) for key in report["mismatched_keys"])
        if wrong:
            raise ValueError(f"{len(wrong)} weights are missing or of another shape, first {wrong[0]}")
        return model

    @abstractmethod
    def load_processor(self, source: str, *, revision: str | None, image: Mapping[str, Any]) -> Any:
        """The processor of the same place, with the settings `image` in place of the image processor's own."""

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

    def image_tokens(self, processor: Any, width: int, height: int) -> int:
        """How many tokens an image of this size takes in the prompt; 0: all images take the same number."""
        return 0

    def caption_ids(self, processor: Any, caption: str) -> list[int]:
        """The caption's tokens as they follow the prompt, without an end token."""
        return list(self.tokenizer(processor)(" " + caption, add_special_tokens=False)["input_ids"])

    def component(self, name: str) -> str | None:
        """The component that a module or parameter belongs to."""
        return next((c for pattern, c in self.components.items() if re.match(pattern, name)), None)

    def inventory(self, model: PreTrainedModel) -> tuple[Module, ...]:
        """Every linear and embedding module of the model (never its adapters'), by component and kind."""
        from torch import nn

        found: list[Module] = []
        for name, module in model.named_modules():
            if not isinstance(module, nn.Linear | nn.Embedding):
                continue
            # IDEFICS' embeddings and head hold further ones, whose parameters count with theirs.
            if found and name.startswith(f"{found[-1].name}."):
                continue
            kind = self.kind(name) if isinstance(module, nn.Linear) else "embedding"
            # A linear weight is (outputs, inputs), an embedding's (rows, width).
            rows, width = module.weight.shape
            inputs, outputs = (width, rows) if isinstance(module, nn.Linear) else (rows, width)
            count = sum(p.numel() for p in module.parameters())
            found.append(Module(name, self.component(name) or "other", kind, inputs, outputs, count))
        return tuple(found)

    def kind(self, name: str) -> str:
        """The kind of projection of a linear module."""
        for pattern, kind in self.extra_kinds.items():
            if re.search(pattern, name):
                return kind
        return KINDS.get(name.rpartition(".")[2], "other")


def load_image_processor(kind: Any, source: str, *, revision: str | None, image: Mapping[str, Any]) -> Any:
    """An image processor of class `kind` with some settings changed. ValueError for a setting that it has not."""
    known = kind.valid_kwargs.__annotations__
    if unknown := sorted(image.keys() - known):
        raise ValueError(f"image: {kind.__name__} has no setting {unknown[0]!r}; it has {', '.join(known)}")
    return kind.from_pretrained(source, revision=revision, **image)


def get_family(name: str) -> Family:
    """The adapter of a family by its name, which is also its module's name."""
    module = importlib.import_module(f"radcap.models.families.{name}")
    found: Family = module.FAMILY
    return found
