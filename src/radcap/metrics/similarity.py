"""Similarity: cosine of an image's and a caption's MedImageInsight embeddings (Codella et al. 2024), raw captions."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from radcap import files
from radcap.errors import UserError
from radcap.metrics.medimageinsight import open_model, weights
from radcap.metrics.medimageinsight.image_tower import REFERENCE_MODES, decode, stored_mode
from radcap.runtime.progress import track

# To raise when the same image file comes to give other pixels: embeddings of older rules are not taken from a cache.
PIXEL_RULES = 1
SAVE_EVERY = 256


class SimilarityScorer:
    """Scores with MedImageInsight from a local folder, flat or as published (see medimageinsight.weights.find).

    `cache`: a safetensors file that keeps image embeddings from one process to the next; several checkpoints and
    processes may share it. After each `score`: `conversions`, {Pillow mode: images} of those that the reference
    cannot read and that were converted (image_tower.decode); `missing`, how many images were None; `unreadable`, how
    many could not be decoded. `text_repair` tells what repaired captions: the reference's ftfy, or where it is not
    installed a fallback that leaves mojibake alone.
    """

    def __init__(
        self, checkpoint: Path, *, batch_size: int = 32, dtype: str = "float32", cache: Path | None = None
    ) -> None:
        self.checkpoint = Path(checkpoint)
        self.batch_size = batch_size
        self.model, self.tokenizer = open_model(self.checkpoint)
        self.model = self.model.to(getattr(torch, dtype))
        self.text_repair = self.tokenizer.repair
        self.conversions: dict[str, int] = {}
        self.missing = self.unreadable = 0
        self._cache = EmbeddingCache(cache, self._kept_as) if cache else None
        self._images: dict[str, torch.Tensor] = self._cache.read() if self._cache else {}

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the weights file and the sizes: the checkpoint's identity, wherever it lies."""
        found = weights.find(self.checkpoint)
        sizes = json.dumps(found.settings, sort_keys=True)
        return hashlib.sha256(f"{files.sha256(found.weights)} {sizes}".encode()).hexdigest()

    def score(self, candidates: Sequence[str], images: Sequence[bytes | None]) -> list[float | None]:
        """The cosine in [-1, 1] of each caption and its image; None where there is no image that can be decoded.

        `images`: encoded files (PNG, JPEG, TIFF, ...). A blank caption scores what the model says of it. Captions
        beyond 77 tokens are cut, as in the reference. Equal captions and equal images are computed once; padding may
        move a score by 1e-6. UserError: fewer or more images than captions, weights without finite values.
        """
        if len(candidates) != len(images):
            raise UserError(f"{len(candidates)} captions, but {len(images)} images; None stands for a missing one")
        pictures = self._embed_images(images)
        captions = self._embed_texts(candidates)
        return [
            None if picture is None else self._cosine(caption, picture)
            for caption, picture in zip(captions, pictures, strict=True)
        ]

    def truncated(self, candidates: Sequence[str]) -> int:
        """How many captions are too long for the model, so that `score` cuts them."""
        return sum(self.tokenizer.is_cut(text) for text in candidates)

    def _cosine(self, caption: torch.Tensor, picture: torch.Tensor) -> float:
        cosine = torch.dot(caption.double(), picture.double()).item()
        if not math.isfinite(cosine):
            raise UserError(f"MedImageInsight in {self.checkpoint}: its weights give no finite score")
        return cosine

    def _embed_texts(self, texts: Sequence[str]) -> list[torch.Tensor]:
        ids = {text: self.tokenizer.encode(text) for text in dict.fromkeys(texts)}
        unique = list(dict.fromkeys(ids.values()))
        embeddings = self.model.embed_texts(unique, batch_size=self.batch_size)
        rows = dict(zip(unique, embeddings, strict=True))
        return [rows[ids[text]] for text in texts]

    def _embed_images(self, images: Sequence[bytes | None]) -> list[torch.Tensor | None]:
        modes: Counter[str] = Counter()
        found: list[torch.Tensor | None] = []
        unsaved = 0
        try:
            for data in track(images, total=len(images), label="similarity images"):
                key = hashlib.sha256(data or b"").hexdigest()
                if data and key not in self._images and (embedding := self._embed_image(data)) is not None:
                    self._images[key] = embedding
                    unsaved += 1
                    if unsaved % SAVE_EVERY == 0:
                        self._save()
                found.append(self._images.get(key))
                if data and found[-1] is not None:
                    modes[stored_mode(data)] += 1
        finally:
            # Hours of work on a CPU: kept also where a later image stops the run.
            if unsaved % SAVE_EVERY:
                self._save()
        self.conversions = {mode: modes[mode] for mode in sorted(modes) if mode not in REFERENCE_MODES}
        self.missing = sum(data is None for data in images)
        self.unreadable = found.count(None) - self.missing
        return found

    def _embed_image(self, data: bytes) -> torch.Tensor | None:
        try:
            picture = decode(data)
        # BadImage is one, and so is what Pillow says of a colour space that it cannot convert.
        except ValueError:
            return None
        return self.model.embed_image(picture)

    def _save(self) -> None:
        if self._cache:
            self._cache.write(self._images)

    @property
    def _kept_as(self) -> str:
        """Embeddings of a GPU or of half precision differ from others in their last digits, so each keeps its own."""
        kind = str(self.model.image_projection.dtype).removeprefix("torch.")
        return f"{self.hash}.{self.model.device.type}.{kind}.{PIXEL_RULES}"


class EmbeddingCache:
    """Image embeddings of one checkpoint in a file that may hold other checkpoints' beside them.

    Two tensors for each checkpoint: `<key>.images`, (n, 32) bytes of SHA-256, and `<key>.embeddings`, (n, width).
    """

    def __init__(self, path: Path, key: str) -> None:
        self.path = Path(path)
        self.images, self.embeddings = f"{key}.images", f"{key}.embeddings"

    def read(self) -> dict[str, torch.Tensor]:
        """{SHA-256 of an image file: embedding}; UserError where the file is damaged."""
        tensors = self._tensors()
        if self.images not in tensors:
            return {}
        names, rows = tensors[self.images], tensors[self.embeddings]
        return {bytes(name.tolist()).hex(): row for name, row in zip(names, rows, strict=True)}

    def write(self, embeddings: dict[str, torch.Tensor]) -> None:
        """Add embeddings to those in the file by now, in the order of their hashes, and replace it as a whole."""
        merged = self.read() | embeddings
        names = sorted(merged)
        tensors = self._tensors() | {
            self.images: torch.tensor([list(bytes.fromhex(name)) for name in names], dtype=torch.uint8),
            self.embeddings: torch.stack([merged[name] for name in names]),
        }
        with files.atomic_file(self.path) as beside:
            save_file(tensors, beside)

    def _tensors(self) -> dict[str, torch.Tensor]:
        if not self.path.exists():
            return {}
        try:
            return dict(load_file(self.path))
        except (SafetensorError, OSError) as error:
            told = " ".join(str(error).split())[:200]
            raise UserError(f"image cache {self.path} cannot be read ({told}); delete it to make it anew") from None
