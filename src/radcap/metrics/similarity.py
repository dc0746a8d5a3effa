"""Similarity: the cosine of the MedImageInsight embeddings (Codella et al. 2024) of an image and its raw caption."""

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
from radcap.metrics.medimageinsight import load_model, weights
from radcap.metrics.medimageinsight.image_tower import REFERENCE_MODES, decode_image, image_mode
from radcap.runtime.progress import track

# To be raised when the same image file gives other pixels than before, so that cached embeddings are not used.
DECODING_VERSION = 1
SAVE_EVERY = 256


class SimilarityScorer:
    """Scores with MedImageInsight from a local folder, flat or as published (see medimageinsight.weights).

    `cache`: a safetensors file of image embeddings, which several checkpoints and processes may share.

    Attributes after each `score`: `conversions`, {Pillow mode: number of images} that the reference implementation
    cannot read and that were converted (image_tower.decode_image); `missing`, how many images were None; `unreadable`,
    how many could not be decoded. `text_repair` says what repairs captions: the reference's ftfy or, if it is not
    installed, a fallback that does not repair mojibake.
    """

    def __init__(
        self, checkpoint: Path, *, batch_size: int = 32, dtype: str = "float32", cache: Path | None = None
    ) -> None:
        self.checkpoint = Path(checkpoint)
        self.batch_size = batch_size
        self.model, self.tokenizer = load_model(self.checkpoint)
        self.model = self.model.to(getattr(torch, dtype))
        self.text_repair = self.tokenizer.repair
        self.conversions: dict[str, int] = {}
        self.missing = self.unreadable = 0
        self._cache = EmbeddingCache(cache, self._cache_key) if cache else None
        self._images: dict[str, torch.Tensor] = self._cache.read() if self._cache else {}

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the weights file and the sizes. It identifies the checkpoint, wherever it is."""
        stored = weights.find_checkpoint(self.checkpoint)
        sizes = json.dumps(stored.settings, sort_keys=True)
        return hashlib.sha256(f"{files.sha256(stored.weights)} {sizes}".encode()).hexdigest()

    def score(self, candidates: Sequence[str], images: Sequence[bytes | None]) -> list[float | None]:
        """The cosine in [-1, 1] of each caption and its image; None if there is no image, or if it cannot be decoded.

        `images`: the bytes of files (PNG, JPEG, TIFF, ...). A blank caption gets the model's score. As in the reference
        implementation, captions are truncated to 77 tokens. Equal captions and equal images are embedded once; padding
        may change a score by 1e-6. UserError: the numbers of captions and images differ, or a score is not finite.
        """
        if len(candidates) != len(images):
            raise UserError(f"{len(candidates)} captions, but {len(images)} images; None stands for a missing one")
        image_embeddings = self._embed_images(images)
        caption_embeddings = self._embed_texts(candidates)
        return [
            None if image is None else self._cosine(caption, image)
            for caption, image in zip(caption_embeddings, image_embeddings, strict=True)
        ]

    def count_truncated(self, candidates: Sequence[str]) -> int:
        """The number of captions that `score` truncates because they are too long for the model."""
        return sum(self.tokenizer.is_truncated(text) for text in candidates)

    def _cosine(self, caption: torch.Tensor, image: torch.Tensor) -> float:
        cosine = torch.dot(caption.double(), image.double()).item()
        if not math.isfinite(cosine):
            raise UserError(f"MedImageInsight in {self.checkpoint}: its weights give a non-finite score")
        return cosine

    def _embed_texts(self, texts: Sequence[str]) -> list[torch.Tensor]:
        ids = {text: self.tokenizer.encode(text) for text in dict.fromkeys(texts)}
        unique = list(dict.fromkeys(ids.values()))
        embeddings = self.model.embed_texts(unique, batch_size=self.batch_size)
        rows = dict(zip(unique, embeddings, strict=True))
        return [rows[ids[text]] for text in texts]

    def _embed_images(self, images: Sequence[bytes | None]) -> list[torch.Tensor | None]:
        modes: Counter[str] = Counter()
        embeddings: list[torch.Tensor | None] = []
        unsaved = 0
        try:
            for data in track(images, total=len(images), label="similarity images"):
                key = hashlib.sha256(data or b"").hexdigest()
                if data and key not in self._images and (embedding := self._embed_image(data)) is not None:
                    self._images[key] = embedding
                    unsaved += 1
                    if unsaved % SAVE_EVERY == 0:
                        self._save()
                embeddings.append(self._images.get(key))
                if data and embeddings[-1] is not None:
                    modes[image_mode(data)] += 1
        finally:
            # Embeddings take hours on a CPU, so they are saved even if a later image stops the run.
            if unsaved % SAVE_EVERY:
                self._save()
        self.conversions = {mode: modes[mode] for mode in sorted(modes) if mode not in REFERENCE_MODES}
        self.missing = sum(data is None for data in images)
        self.unreadable = embeddings.count(None) - self.missing
        return embeddings

    def _embed_image(self, data: bytes) -> torch.Tensor | None:
        try:
            image = decode_image(data)
        # BadImage is a ValueError, and so is Pillow's error for a colour space that it cannot convert.
        except ValueError:
            return None
        return self.model.embed_image(image)

    def _save(self) -> None:
        if self._cache:
            self._cache.write(self._images)

    @property
    def _cache_key(self) -> str:
        """The name under which embeddings are cached: on a GPU or in half precision their last digits differ."""
        dtype = str(self.model.image_projection.dtype).removeprefix("torch.")
        return f"{self.hash}.{self.model.device.type}.{dtype}.{DECODING_VERSION}"


class EmbeddingCache:
    """Image embeddings of one checkpoint, in a file that other checkpoints may share.

    Each checkpoint has two tensors: `<key>.images`, (n, 32) bytes of SHA-256, and `<key>.embeddings`, (n, width).
    """

    def __init__(self, path: Path, key: str) -> None:
        self.path = Path(path)
        self.images, self.embeddings = f"{key}.images", f"{key}.embeddings"

    def read(self) -> dict[str, torch.Tensor]:
        """{SHA-256 of an image file: its embedding}. UserError: the file is damaged."""
        tensors = self._tensors()
        if self.images not in tensors:
            return {}
        hashes, rows = tensors[self.images], tensors[self.embeddings]
        return {bytes(digest.tolist()).hex(): row for digest, row in zip(hashes, rows, strict=True)}

    def write(self, embeddings: dict[str, torch.Tensor]) -> None:
        """Add embeddings to those that are in the file now, sorted by their hashes, and replace it as a whole."""
        merged = self.read() | embeddings
        hashes = sorted(merged)
        tensors = self._tensors() | {
            self.images: torch.tensor([list(bytes.fromhex(name)) for name in hashes], dtype=torch.uint8),
            self.embeddings: torch.stack([merged[name] for name in hashes]),
        }
        with files.atomic_file(self.path) as unfinished:
            save_file(tensors, unfinished)

    def _tensors(self) -> dict[str, torch.Tensor]:
        if not self.path.exists():
            return {}
        try:
            return dict(load_file(self.path))
        except (SafetensorError, OSError) as error:
            reason = " ".join(str(error).split())[:200]
            raise UserError(
                f"image cache {self.path} cannot be read ({reason}); delete it, and it is made anew"
            ) from None
