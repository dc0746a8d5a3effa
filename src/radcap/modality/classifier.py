"""The classifier: a miniature, the published ResNet-50 with a head of its own, or what training has saved."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from transformers import ResNetConfig, ResNetForImageClassification
from transformers.image_utils import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from transformers.models.convnext.image_processing_pil_convnext import ConvNextImageProcessorPil
from transformers.utils import logging

from radcap import files
from radcap.errors import UserError
from radcap.modality.classes import CLASSES
from radcap.models.base import RECORD, record_published
from radcap.settings import Modality, ModalityMiniature

FAMILY = "resnet"
HEAD = "classifier.1."
NAMES: dict[str, Any] = {
    "id2label": dict(enumerate(CLASSES)),
    "label2id": {name: index for index, name in enumerate(CLASSES)},
}


@dataclass
class Classifier:
    """The network, whose outputs are CLASSES in their order, with the processor that makes its pixels."""

    model: ResNetForImageClassification
    processor: ConvNextImageProcessorPil

    @property
    def device(self) -> torch.device:
        device: torch.device = self.model.device
        return device

    def save(self, folder: Path) -> None:
        """Write config.json, model.safetensors and preprocessor_config.json, as published."""
        self.model.save_pretrained(folder)
        self.processor.save_pretrained(folder)


def initialize(folder: Path, rules: Modality, *, weights: Literal["miniature", "published"]) -> Classifier:
    """What training begins with; base.json in the folder tells it, with published files' revision and hashes."""
    if weights == "published":
        record = record_published(folder, family_name=FAMILY, checkpoint=rules.checkpoint, revision=rules.revision)
        return load_published(rules.checkpoint, revision=record["revision"])
    files.write_json(folder / RECORD, {"family": FAMILY, "weights": weights, "checkpoint": None, "revision": None})
    return build_miniature(rules.miniature)


def record_untrained(folder: Path, reason: str) -> None:
    """Say in base.json why nothing was trained."""
    files.write_json(folder / RECORD, {"family": FAMILY, "missing": reason})


def build_miniature(size: ModalityMiniature) -> Classifier:
    """An untrained small one of the published class and layer type."""
    config = ResNetConfig(embedding_size=size.embedding, hidden_sizes=size.widths, depths=size.depths, **NAMES)
    processor = ConvNextImageProcessorPil(
        size={"shortest_edge": size.image_size},
        image_mean=list(IMAGENET_DEFAULT_MEAN),
        image_std=list(IMAGENET_DEFAULT_STD),
    )
    return _placed(ResNetForImageClassification(config), processor)


def load_published(source: str, *, revision: str | None) -> Classifier:
    """Published weights from a hub id or a local folder, under a fresh head.

    UserError: it cannot be loaded, or any weight but the head's is missing, unexpected or of another shape.
    """
    model, faults = _load(source, revision=revision, ignore_mismatched_sizes=True, **NAMES)
    faults = [fault for fault in faults if not fault.startswith(HEAD)]
    _refuse(source, faults)
    # A head that happens to be of the same size says other things.
    model.classifier[1].reset_parameters()
    return _placed(model, _processor(source, revision=revision))


def load_trained(folder: Path) -> Classifier:
    """What training has saved, on the GPU where there is one.

    UserError: nothing was trained, and why; or what lies there is damaged or has other classes.
    """
    record = folder / RECORD
    if not record.exists():
        raise UserError(f"{record} not found; `dvc repro modality` makes the modality classifier")
    if reason := files.read_json(record).get("missing"):
        raise UserError(f"{folder} holds no modality classifier: {reason}")
    model, faults = _load(str(folder), revision=None)
    _refuse(str(folder), faults)
    if model.config.id2label != NAMES["id2label"]:
        raise UserError(f"{folder}: its classes are not {', '.join(CLASSES)}; run `dvc repro modality`")
    return _placed(model, _processor(str(folder), revision=None))


def _load(source: str, **options: Any) -> tuple[ResNetForImageClassification, list[str]]:
    """The model in float32, and the names of weights that did not find their place."""
    before = logging.get_verbosity()
    # Its report of such weights is a table; what matters of it is told in one line.
    logging.set_verbosity_error()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model, info = ResNetForImageClassification.from_pretrained(
                source, dtype=torch.float32, output_loading_info=True, **options
            )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise UserError(f"checkpoint {source!r} cannot be loaded: {' '.join(str(error).split())[:300]}") from error
    finally:
        logging.set_verbosity(before)
    faults = {*info["missing_keys"], *info["unexpected_keys"], *(key for key, *_ in info["mismatched_keys"])}
    # Batch norms count their batches since 2018 only, and the count matters to none of them.
    return model, sorted(name for name in faults if not name.endswith("num_batches_tracked"))


def _refuse(source: str, faults: list[str]) -> None:
    if faults:
        raise UserError(
            f"checkpoint {source!r} is no such ResNet: {len(faults)} weights are missing, unexpected or of another "
            f"shape, first {faults[0]}"
        )


def _processor(source: str, *, revision: str | None) -> ConvNextImageProcessorPil:
    try:
        return ConvNextImageProcessorPil.from_pretrained(source, revision=revision)
    except (OSError, ValueError) as error:
        raise UserError(f"checkpoint {source!r} has no image processor: {' '.join(str(error).split())[:300]}") from None


def _placed(model: ResNetForImageClassification, processor: ConvNextImageProcessorPil) -> Classifier:
    return Classifier(model.eval().to("cuda" if torch.cuda.is_available() else "cpu"), processor)
