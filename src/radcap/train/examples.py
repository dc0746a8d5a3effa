"""Rows of a split as training examples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache, cached_property, partial
from typing import TYPE_CHECKING

import torch
from torch.utils.data import Dataset

from radcap.models.base import Loaded
from radcap.models.family import Tensors
from radcap.models.inputs import IGNORED, encode

if TYPE_CHECKING:
    from datasets import Dataset as Rows


class Examples(Dataset):  # type: ignore[type-arg]
    """Encoded (image, prompt, caption) examples of a split, each with its `row`; `prompts`: one for each row.

    `cache` keeps them in memory once encoded. Index -1 - r gives row r with nothing to learn, see Order.
    """

    def __init__(
        self, loaded: Loaded, rows: Rows, prompts: Sequence[str], *, max_caption_tokens: int, cache: bool
    ) -> None:
        self.loaded, self.rows, self.prompts = loaded, rows, prompts
        self.max_caption_tokens = max_caption_tokens
        self.kept: dict[int, Tensors] | None = {} if cache else None

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Tensors:
        if index < 0:
            filling = self[-1 - index]
            return filling | {"labels": torch.full_like(filling["labels"], IGNORED), "row": torch.tensor([index])}
        if self.kept is not None and index in self.kept:
            return dict(self.kept[index])
        row = self.rows[index]
        options = {"caption": row["caption"], "max_caption_tokens": self.max_caption_tokens}
        example, _ = encode(self.loaded, row["image"], self.prompts[index], **options)
        example["row"] = torch.tensor([index])
        if self.kept is not None:
            self.kept[index] = example
        return dict(example)

    @cached_property
    def caption_lengths(self) -> list[int]:
        """Tokens of every caption before it is cut, end token included."""
        adapter, processor = self.loaded.family, self.loaded.processor
        return [len(adapter.caption_ids(processor, text)) + 1 for text in self.rows["caption"]]

    def caption_tokens(self, share: float) -> int:
        """So many tokens, end token included, as this share of the captions do not exceed as they train."""
        lengths = sorted(min(length, self.max_caption_tokens) for length in self.caption_lengths)
        return lengths[math.ceil(share * len(lengths)) - 1]

    @cached_property
    def lengths(self) -> list[int]:
        """Tokens of every example as it trains, less what all have in common: of its image, and of its caption, cut.

        By the images' sizes, so that no image is opened. One that its EXIF mark turns counts as it lies in the file.
        """
        adapter, processor = self.loaded.family, self.loaded.processor
        of_size = cache(partial(adapter.image_tokens, processor))
        images = [of_size(*size) for size in zip(self.rows["width"], self.rows["height"], strict=True)]
        captions = [min(length, self.max_caption_tokens) for length in self.caption_lengths]
        return [image + caption for image, caption in zip(images, captions, strict=True)]

    def cut_captions(self) -> int:
        """How many captions are longer than `max_caption_tokens` and train cut."""
        return sum(length > self.max_caption_tokens for length in self.caption_lengths)
