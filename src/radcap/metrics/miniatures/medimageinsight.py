"""The miniature MedImageInsight: a small model of the published classes, trained on captioned images.

As in MedImageInsight's own training, the loss is UniCL's (Yang et al. 2022): InfoNCE in both directions with a learned
temperature (Radford et al. 2021), where all captions with the same facts are positives. Random captions as negatives
teach too slowly what matters. So there are also captions with one wrong fact and with shuffled words (Yuksekgonul et
al. 2023), and heads on both towers, which are not saved, learn the facts themselves.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize
from torch.nn.utils.rnn import pad_sequence

from radcap import files
from radcap.errors import UserError
from radcap.metrics.medimageinsight import MedImageInsight
from radcap.metrics.medimageinsight.text_tower import Tokenizer
from radcap.metrics.medimageinsight.weights import PUBLISHED, published_name
from radcap.metrics.miniatures.clip_tokenizer import write_tokenizer
from radcap.metrics.miniatures.facts import FACTS
from radcap.metrics.miniatures.medimageinsight_batches import Batch, BatchSampler
from radcap.metrics.miniatures.training import seeded_single_thread, train
from radcap.models.initialization import initialize_weights

IMAGE_ENCODER: dict[str, Any] = {
    "patch_size": [7, 3, 3],
    "patch_stride": [4, 2, 2],
    "patch_padding": [3, 1, 1],
    "patch_prenorm": [False, True, True],
    "dim_embed": [16, 32, 64],
    "num_heads": [1, 2, 4],
    "num_groups": [1, 2, 4],
    "depths": [1, 1, 1],
    "window_size": 4,
    "image_size": [64, 64],
}
TEXT_ENCODER: dict[str, Any] = {"width": 64, "heads": 4, "layers": 2}
PROJECTION_DIM = 64
LEARNING_RATE = 0.005
# CLIP's initial value, and its limit on the scale for stability (Radford et al. 2021, section 2.5).
TEMPERATURE, MAX_SCALE = 0.07, 100.0
# The contrastive loss decides only differences of cosines. These are the lowest cosine for a correct caption, and the
# highest for noise.
MIN_CORRECT_COSINE, MAX_NOISE_COSINE = 0.7, -0.3
# Captions of similar length that are encoded together.
CAPTIONS_PER_PASS = 20
POSITION_STD = 0.1


class TrainingModule(nn.Module):
    """The model with what only its training needs: the temperature, and heads that predict the facts."""

    def __init__(self, model: MedImageInsight) -> None:
        super().__init__()
        self.model = model
        self.scale = nn.Parameter(torch.tensor(-math.log(TEMPERATURE)))
        classes = sum(map(len, FACTS.values()))
        self.image_facts = nn.Linear(IMAGE_ENCODER["dim_embed"][-1], classes)
        self.caption_facts = nn.Linear(TEXT_ENCODER["width"], classes)

    def forward(self, batch: Batch) -> Tensor:
        """The sum of all losses of a batch."""
        image_features = self.model.image_encoder(batch.pixels)
        text_features = self._encode_texts(batch.texts)
        images = normalize(image_features @ self.model.image_projection, dim=-1)
        captions = normalize(text_features @ self.model.lang_projection, dim=-1)
        cosines = images @ captions.T
        is_correct = (batch.image_facts[:, None] == batch.caption_facts[None]).all(-1)
        return (
            self._contrastive_loss(cosines, is_correct)
            + (MIN_CORRECT_COSINE - cosines[is_correct]).relu().mean()
            + (cosines[:, batch.noise] - MAX_NOISE_COSINE).relu().mean()
            + _fact_loss(self.image_facts(image_features), batch.image_facts)
            + _fact_loss(self.caption_facts(text_features), batch.caption_facts)
        )

    def _encode_texts(self, texts: Sequence[tuple[int, ...]]) -> Tensor:
        """Features (texts, width), in the order of the texts. They are encoded by length, to need little padding."""
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        features = []
        for start in range(0, len(order), CAPTIONS_PER_PASS):
            rows = [torch.tensor(texts[index]) for index in order[start : start + CAPTIONS_PER_PASS]]
            ids = pad_sequence(rows, batch_first=True)
            features.append(self.model.lang_encoder(ids, torch.tensor([len(row) for row in rows])))
        return torch.cat(features)[torch.tensor(order).argsort()]

    def _contrastive_loss(self, cosines: Tensor, is_correct: Tensor) -> Tensor:
        """`cosines`, `is_correct`: (images, captions)."""
        logits = self.scale.exp().clamp(max=MAX_SCALE) * cosines
        # Captions that are correct for no image of the batch have no loss of their own.
        has_image = is_correct.any(dim=0)
        image_loss = cross_entropy(logits, is_correct / is_correct.sum(dim=1, keepdim=True))
        targets = is_correct[:, has_image].T.float()
        caption_loss = cross_entropy(logits[:, has_image].T, targets / targets.sum(dim=1, keepdim=True))
        return (image_loss + caption_loss) / 2


def train_medimageinsight(rows: Sequence[Mapping[str, Any]], folder: Path, *, steps: int, seed: int) -> None:
    """Train a small MedImageInsight, and write it for `SimilarityScorer`. `rows`: image (the file's bytes) and caption.

    The same rows, steps and seed give the same bytes on the same kind of processor. UserError: no rows.
    """
    if not len(rows):
        raise UserError("a small MedImageInsight cannot be trained on no rows")
    with seeded_single_thread(seed, "similarity") as rng, files.atomic_folder(folder) as out:
        tokens = write_tokenizer([row["caption"] for row in rows], out)
        settings = {
            "image_encoder": PUBLISHED["image_encoder"] | IMAGE_ENCODER,
            "text_encoder": PUBLISHED["text_encoder"] | TEXT_ENCODER | {"vocab_size": tokens},
            "projection_dim": PROJECTION_DIM,
        }
        files.write_json(out / "config.json", settings)
        tokenizer = Tokenizer(out, max_tokens=settings["text_encoder"]["context_length"])
        sampler = BatchSampler(rows, tokenizer, settings["image_encoder"], rng)
        model = MedImageInsight(settings)
        _initialize(model)
        module = TrainingModule(model)
        train(
            module.parameters(),
            lambda: module(sampler.sample()),
            steps=steps,
            learning_rate=LEARNING_RATE,
            label="similarity",
        )
        weights = {published_name(name): tensor for name, tensor in model.state_dict().items()}
        save_file(weights | {"logit_scale": module.scale.detach()}, out / "weights.safetensors")


def _initialize(model: MedImageInsight) -> None:
    initialize_weights(model)
    nn.init.normal_(model.lang_encoder.positional_embedding, std=POSITION_STD)
    for projection in (model.image_projection, model.lang_projection):
        nn.init.normal_(projection, std=projection.shape[0] ** -0.5)


def _fact_loss(logits: Tensor, facts: Tensor) -> Tensor:
    """The mean loss over the four facts. Rows without known facts do not count."""
    known = facts[:, 0] >= 0
    of_facts = torch.split(logits[known], [len(values) for values in FACTS.values()], dim=1)
    losses = [
        cross_entropy(part, labels, reduction="sum") for part, labels in zip(of_facts, facts[known].T, strict=True)
    ]
    return torch.stack(losses).sum() / (len(FACTS) * known.sum().clamp(min=1))
