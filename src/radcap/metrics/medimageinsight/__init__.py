"""MedImageInsight (Codella et al. 2024): images and captions in one embedding space, in evaluation mode throughout."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import nn
from torch.nn.functional import normalize

from radcap.errors import UserError
from radcap.metrics.medimageinsight import weights
from radcap.metrics.medimageinsight.image_tower import ImageTower, normalised
from radcap.metrics.medimageinsight.text_tower import TextTower, Tokenizer


class MedImageInsight(nn.Module):
    """Both towers with their projections; its parameters are the published ones. `settings`: as weights.PUBLISHED."""

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__()
        self.settings = settings
        image, text, shared = settings["image_encoder"], settings["text_encoder"], settings["projection_dim"]
        self.image_encoder = ImageTower(image)
        self.lang_encoder = TextTower(text)
        self.image_projection = nn.Parameter(torch.empty(image["dim_embed"][-1], shared))
        self.lang_projection = nn.Parameter(torch.empty(text["width"], shared))

    @property
    def device(self) -> torch.device:
        return self.image_projection.device

    @torch.inference_mode()
    def embed_image(self, image: Image.Image) -> torch.Tensor:
        """An 8-bit RGB image -> its embedding (projection_dim,) of length 1, on the CPU.

        One image at a time: an embedding that is kept must not carry the rounding of its batch's shape.
        """
        pixels = normalised(image, self.settings["image_encoder"])[None].to(self.image_projection)
        # On a GPU convolutions would round to ten bits otherwise.
        with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
            features = self.image_encoder(pixels)
        return normalize((features @ self.image_projection).float(), dim=-1)[0].cpu()

    @torch.inference_mode()
    def embed_texts(self, texts: Sequence[tuple[int, ...]], *, batch_size: int) -> torch.Tensor:
        """Token ids of n captions -> (n, projection_dim) embeddings of length 1, on the CPU.

        Batches are cut from the captions sorted by length and padded to the longest of each.
        """
        order = sorted(range(len(texts)), key=lambda index: (len(texts[index]), texts[index]))
        found = torch.empty(len(texts), self.lang_projection.shape[1])
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            ids = nn.utils.rnn.pad_sequence([torch.tensor(texts[index]) for index in batch], batch_first=True)
            lengths = torch.tensor([len(texts[index]) for index in batch])
            features = self.lang_encoder(ids.to(self.device), lengths.to(self.device))
            found[batch] = normalize((features @ self.lang_projection).float(), dim=-1).cpu()
        return found


def open_model(folder: Path) -> tuple[MedImageInsight, Tokenizer]:
    """The model of a checkpoint folder, on the GPU where there is one, and its tokenizer. UserError as in weights."""
    checkpoint = weights.find(folder)
    try:
        with torch.device("meta"):
            model = MedImageInsight(checkpoint.settings)
    except (ArithmeticError, AssertionError, LookupError, RuntimeError, TypeError, ValueError) as error:
        told = " ".join(str(error).split())[:200]
        raise UserError(f"{folder}: its config.json makes no MedImageInsight ({told})") from None
    weights.load(model, checkpoint.weights)
    text = checkpoint.settings["text_encoder"]
    tokenizer = Tokenizer(checkpoint.tokenizer, length=text["context_length"])
    if tokenizer.size > text["vocab_size"]:
        raise UserError(f"{folder}: vocab.json has {tokenizer.size} tokens, the text tower only {text['vocab_size']}")
    return model.eval().to("cuda" if torch.cuda.is_available() else "cpu"), tokenizer
