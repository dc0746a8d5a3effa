"""Splits of tiny pictures that a classifier can learn, and a classifier for them."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import ResNetConfig, ResNetForImageClassification

from radcap import seeds
from radcap.data import store
from radcap.modality import classifier
from radcap.modality.classes import Labels
from radcap.modality.classifier import Classifier
from radcap.modality.dataset import PixelDataset
from radcap.modality.fit import Recipe, fit
from radcap.settings import Modality, ModalityMiniature, ProfileModality
from tests.models_for_tests import PARAMS

SIZE = ModalityMiniature(image_size=24, embedding=8, widths=(16, 32), depths=(1, 1))
RULES: Modality = PARAMS.modality.model_copy(update={"miniature": SIZE})
RUN = ProfileModality(epochs=3, batch_size=8, learning_rate=0.01)
# CT, X-ray, MRI
CUIS = (("C0040405",), ("C1306645",), ("C0024485",))

# preprocessor_config.json of microsoft/resnet-50, but for its size of 224.
PROCESSOR = {
    "crop_pct": 0.875,
    "do_normalize": True,
    "do_resize": True,
    "feature_extractor_type": "ConvNextFeatureExtractor",
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
    "resample": 3,
    "size": 32,
}


def picture(kind: int, number: int) -> bytes:
    """Noise on a dark, a middle or a bright ground, of a size of its own."""
    rng = np.random.default_rng([kind, number])
    height, width = rng.integers(30, 60, 2)
    values = rng.integers(0, 60, (height, width)) + 90 * kind
    buffer = io.BytesIO()
    Image.fromarray(values.astype(np.uint8)).save(buffer, format="PNG")
    return buffer.getvalue()


def write_split(path: Path, number: int, *, cuis: tuple[tuple[str, ...], ...] = CUIS, start: int = 0) -> Any:
    """`number` rows that go through the kinds in turn; `cuis`: each kind's concepts."""
    rows = []
    for index in range(start, start + number):
        kind = index % len(CUIS)
        image, named = picture(kind, index), cuis[kind]
        size = {"width": 1, "height": 1, "sha256": ""}
        rows.append(store.Row(id=f"r{index}", image=image, caption="a", raw_caption="a", cuis=named, **size))
    store.write(path, rows)
    return store.read(path)


def train(rows: Any, *, rules: Modality = RULES, workers: int = 0, cache: bool = True, **run: object):
    """A classifier trained on the rows, which are its validation rows too, and its log."""
    seed = seeds.set_seed(1, "test", threads=1)
    made: Classifier = classifier.build_miniature(rules.miniature)
    labels = Labels.of(rows["cuis"], rules)
    pixels = PixelDataset(made.processor, rows["image"], labels.examples, cache=cache)
    recipe = Recipe(rules=rules, run=RUN.model_copy(update=run), counts=labels.counts, seed=seed, workers=workers)
    return made, fit(made, pixels, pixels, recipe)


def published_layout(folder: Path) -> Path:
    """A small ResNet with ImageNet's head as microsoft/resnet-50 is stored."""
    torch.manual_seed(0)
    config = ResNetConfig(embedding_size=8, hidden_sizes=[16, 32], depths=[1, 2], num_labels=1000)
    ResNetForImageClassification(config).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
    return folder
