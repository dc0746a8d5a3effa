"""Predictions for any images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader

from radcap import layout
from radcap.modality import classifier
from radcap.modality.classes import CLASSES
from radcap.modality.classifier import Classifier
from radcap.modality.dataset import PixelDataset
from radcap.modality.predictions import Probabilities, most_likely
from radcap.runtime.progress import track

# Decimals of a probability: beyond them it depends on the shape of the batch.
PLACES = 5


def open_classifier(folder: Path = layout.MODALITY) -> Classifier:
    """The trained classifier, on the GPU where there is one. UserError: none was trained, or it is damaged."""
    return classifier.load_trained(folder)


def classify(classifier: Classifier, images: Sequence[bytes], *, batch_size: int) -> list[tuple[str, float]]:
    """(class, its probability) of each image, given as its file's bytes. BadImage as in data.images.open_rgb."""
    return most_likely(probabilities(classifier, images, batch_size=batch_size))


@torch.inference_mode()
def probabilities(
    classifier: Classifier, images: Sequence[bytes], *, batch_size: int, workers: int = 0, label: str = "modality"
) -> Probabilities:
    """(n, classes) probabilities in the order of CLASSES, rounded. `images` are read as they are asked for."""
    items = PixelDataset(classifier.processor, images, [(row, 0) for row in range(len(images))], cache=False)
    batches = DataLoader(items, batch_size, num_workers=workers)
    chunks = [np.empty((0, len(CLASSES)))]
    classifier.model.eval()
    # On a GPU convolutions would round to ten bits otherwise; not said to be enabled, cuDNN would be off.
    with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
        for pixels, _ in track(batches, total=len(batches), label=label):
            logits = classifier.model(pixels.to(classifier.device)).logits
            chunks.append(logits.double().softmax(-1).cpu().numpy())
    shares: Probabilities = np.concatenate(chunks).round(PLACES)
    return shares
