"""The sample's MedImageInsight: a small model of the published classes, trained on captioned images.

The loss is UniCL's (Yang et al. 2022), with which MedImageInsight was trained: InfoNCE both ways with a learned
temperature (Radford et al. 2021), where every caption of the same facts counts as right. A contrast of random captions
teaches too slowly what they differ in. So there are captions with one wrong fact and with shuffled words, too
(Yuksekgonul et al. 2023), and heads on both towers, which are not kept, learn the facts themselves.
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
from radcap.metrics.miniatures.image_text_batches import Batch, Drawer
from radcap.metrics.miniatures.training import alone, descend
from radcap.models.initialization import initialize_weights

IMAGE: dict[str, Any] = {
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
TEXT: dict[str, Any] = {"width": 64, "heads": 4, "layers": 2}
SHARED = 64
RATE = 0.005
# CLIP's start, and its limit that keeps the temperature from running away (Radford et al. 2021, section 2.5).
TEMPERATURE, LARGEST_SCALE = 0.07, 100.0
# The contrast sets cosines apart, but not where they lie: at least so high of a right caption, at most so of noise.
RIGHT_COSINE, NOISE_COSINE = 0.7, -0.3
# So many captions of similar length are read together.
TOGETHER = 20
POSITION_STD = 0.1


class Learner(nn.Module):
    """The model with what only training needs: temperature and the heads that tell the facts."""

    def __init__(self, model: MedImageInsight) -> None:
        super().__init__()
        self.model = model
        self.scale = nn.Parameter(torch.tensor(-math.log(TEMPERATURE)))
        answers = sum(map(len, FACTS.values()))
        self.picture_facts = nn.Linear(IMAGE["dim_embed"][-1], answers)
        self.caption_facts = nn.Linear(TEXT["width"], answers)

    def forward(self, batch: Batch) -> Tensor:
        """The loss."""
        seen = self.model.image_encoder(batch.pixels)
        told = self._read(batch.texts)
        pictures = normalize(seen @ self.model.image_projection, dim=-1)
        captions = normalize(told @ self.model.lang_projection, dim=-1)
        cosines = pictures @ captions.T
        right = (batch.picture_facts[:, None] == batch.caption_facts[None]).all(-1)
        return (
            self._contrast(cosines, right)
            + (RIGHT_COSINE - cosines[right]).relu().mean()
            + (cosines[:, batch.noise] - NOISE_COSINE).relu().mean()
            + _fact_loss(self.picture_facts(seen), batch.picture_facts)
            + _fact_loss(self.caption_facts(told), batch.caption_facts)
        )

    def _read(self, texts: Sequence[tuple[int, ...]]) -> Tensor:
        """(texts, width) in the order given; read by length, so that little is padding."""
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        parts = []
        for start in range(0, len(order), TOGETHER):
            rows = [torch.tensor(texts[index]) for index in order[start : start + TOGETHER]]
            ids = pad_sequence(rows, batch_first=True)
            parts.append(self.model.lang_encoder(ids, torch.tensor([len(row) for row in rows])))
        return torch.cat(parts)[torch.tensor(order).argsort()]

    def _contrast(self, cosines: Tensor, right: Tensor) -> Tensor:
        logits = self.scale.exp().clamp(max=LARGEST_SCALE) * cosines
        # A caption that is right for no image of the batch asks nothing of it.
        shown = right.any(dim=0)
        of_pictures = cross_entropy(logits, right / right.sum(dim=1, keepdim=True))
        own = right[:, shown].T.float()
        of_captions = cross_entropy(logits[:, shown].T, own / own.sum(dim=1, keepdim=True))
        return (of_pictures + of_captions) / 2


def train_image_text(rows: Sequence[Mapping[str, Any]], folder: Path, *, steps: int, seed: int) -> None:
    """Write a small MedImageInsight for `SimilarityScorer`, from rows' `image` (an encoded file) and `caption`.

    The same rows, steps and seed give the same bytes on the same kind of processor. UserError: no rows.
    """
    if not len(rows):
        raise UserError("a small MedImageInsight cannot be trained on no rows")
    with alone(seed, "similarity") as rng, files.atomic_folder(folder) as out:
        tokens = write_tokenizer([row["caption"] for row in rows], out)
        settings = {
            "image_encoder": PUBLISHED["image_encoder"] | IMAGE,
            "text_encoder": PUBLISHED["text_encoder"] | TEXT | {"vocab_size": tokens},
            "projection_dim": SHARED,
        }
        files.write_json(out / "config.json", settings)
        tokenizer = Tokenizer(out, length=settings["text_encoder"]["context_length"])
        drawer = Drawer(rows, tokenizer, settings["image_encoder"], rng)
        model = MedImageInsight(settings)
        _start(model)
        learner = Learner(model)
        descend(learner.parameters(), lambda: learner(drawer.draw()), steps=steps, rate=RATE, label="similarity")
        weights = {published_name(name): tensor for name, tensor in model.state_dict().items()}
        save_file(weights | {"logit_scale": learner.scale.detach()}, out / "weights.safetensors")


def _start(model: MedImageInsight) -> None:
    initialize_weights(model)
    nn.init.normal_(model.lang_encoder.positional_embedding, std=POSITION_STD)
    for projection in (model.image_projection, model.lang_projection):
        nn.init.normal_(projection, std=projection.shape[0] ** -0.5)


def _fact_loss(logits: Tensor, facts: Tensor) -> Tensor:
    """Mean over the facts; rows without known facts do not count."""
    known = facts[:, 0] >= 0
    parts = torch.split(logits[known], [len(values) for values in FACTS.values()], dim=1)
    losses = [cross_entropy(part, truth, reduction="sum") for part, truth in zip(parts, facts[known].T, strict=True)]
    return torch.stack(losses).sum() / (len(FACTS) * known.sum().clamp(min=1))
