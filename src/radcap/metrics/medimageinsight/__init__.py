"""MedImageInsight (Codella et al. 2024): embeds images and captions in one space, always in evaluation mode."""

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
from radcap.metrics.medimageinsight.image_tower import ImageTower, normalize_pixels
from radcap.metrics.medimageinsight.text_tower import TextTower, Tokenizer


class MedImageInsight(nn.Module):
    """Both towers with their projections. `settings`: as weights.PUBLISHED. Parameters: the published ones."""

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
        """The embedding of an 8-bit RGB image: (projection_dim,), of length 1, on the CPU.

        One image at a time: a cached embedding must not depend on the rounding in a batch of some size.
        """
        pixels = normalize_pixels(image, self.settings["image_encoder"])[None].to(self.image_projection)
        # TF32 would round the convolutions to ten bits on a GPU.
        with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
            features = self.image_encoder(pixels)
        return normalize((features @ self.image_projection).float(), dim=-1)[0].cpu()

    @torch.inference_mode()
    def embed_texts(self, texts: Sequence[tuple[int, ...]], *, batch_size: int) -> torch.Tensor:
        """The embeddings of n captions, given as token ids: (n, projection_dim), of length 1, on the CPU.

        The captions are sorted by length, and each batch is padded to its longest caption.
        """
        order = sorted(range(len(texts)), key=lambda index: (len(texts[index]), texts[index]))
        embeddings = torch.empty(len(texts), self.lang_projection.shape[1])
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            ids = nn.utils.rnn.pad_sequence([torch.tensor(texts[index]) for index in batch], batch_first=True)
            lengths = torch.tensor([len(texts[index]) for index in batch])
            features = self.lang_encoder(ids.to(self.device), lengths.to(self.device))
            embeddings[batch] = normalize((features @ self.lang_projection).float(), dim=-1).cpu()
        return embeddings


def load_model(folder: Path) -> tuple[MedImageInsight, Tokenizer]:
    """Load a checkpoint folder: the model, on the GPU if there is one, and its tokenizer. UserError as in weights."""
    checkpoint = weights.find_checkpoint(folder)
    try:
        with torch.device("meta"):
            model = MedImageInsight(checkpoint.settings)
    except (ArithmeticError, AssertionError, LookupError, RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{folder}: its config.json does not describe a MedImageInsight ({reason})") from None
    weights.load_weights(model, checkpoint.weights)
    text = checkpoint.settings["text_encoder"]
    tokenizer = Tokenizer(checkpoint.tokenizer, max_tokens=text["context_length"])
    if tokenizer.size > text["vocab_size"]:
        raise UserError(f"{folder}: vocab.json has {tokenizer.size} tokens, the text tower only {text['vocab_size']}")
    return model.eval().to("cuda" if torch.cuda.is_available() else "cpu"), tokenizer
