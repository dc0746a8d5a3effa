"""The rows of a split as training examples, and batches of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache, cached_property, partial
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import Dataset

from radcap.models.base import LoadedModel
from radcap.models.family import Family, Tensors
from radcap.models.inputs import IGNORED, collate, encode
from radcap.train.loss import predicting_positions

if TYPE_CHECKING:
    from datasets import Dataset as Rows


class Examples(Dataset):  # type: ignore[type-arg]
    """The encoded (image, prompt, caption) examples of a split. `prompts` holds one prompt per row.

    Each example has the inputs of the model, its labels, and `row`, the index that was asked for. Index -1 - r gives
    row r with all labels ignored (see LengthGroupedSampler). `cache` keeps encoded examples in memory.
    """

    def __init__(
        self, loaded: LoadedModel, rows: Rows, prompts: Sequence[str], *, max_caption_tokens: int, cache: bool
    ) -> None:
        self.loaded, self.rows, self.prompts = loaded, rows, prompts
        self.max_caption_tokens = max_caption_tokens
        self.cached: dict[int, Tensors] | None = {} if cache else None

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Tensors:
        if index < 0:
            filler = self[-1 - index]
            return filler | {"labels": torch.full_like(filler["labels"], IGNORED), "row": torch.tensor([index])}
        if self.cached is not None and index in self.cached:
            return dict(self.cached[index])
        row = self.rows[index]
        options = {"caption": row["caption"], "max_caption_tokens": self.max_caption_tokens}
        example, _ = encode(self.loaded, row["image"], self.prompts[index], **options)
        example["row"] = torch.tensor([index])
        if self.cached is not None:
            self.cached[index] = example
        return dict(example)

    @cached_property
    def caption_lengths(self) -> list[int]:
        """The number of tokens of every caption before it is cut, including the end token."""
        family, processor = self.loaded.family, self.loaded.processor
        return [len(family.caption_ids(processor, text)) + 1 for text in self.rows["caption"]]

    def caption_tokens(self, share: float) -> int:
        """The smallest length that this share of the captions, as they are trained on, does not exceed.

        In tokens, including the end token.
        """
        lengths = sorted(min(length, self.max_caption_tokens) for length in self.caption_lengths)
        return lengths[math.ceil(share * len(lengths)) - 1]

    @cached_property
    def lengths(self) -> list[int]:
        """The length of every example up to a constant: the tokens of its image and of its (cut) caption.

        Computed from the recorded sizes of the images, so that no image is opened. An image with an EXIF rotation
        counts as it is stored.
        """
        family, processor = self.loaded.family, self.loaded.processor
        image_tokens = cache(partial(family.image_tokens, processor))
        images = [image_tokens(*size) for size in zip(self.rows["width"], self.rows["height"], strict=True)]
        captions = [min(length, self.max_caption_tokens) for length in self.caption_lengths]
        return [image + caption for image, caption in zip(images, captions, strict=True)]

    def cut_captions(self) -> int:
        """How many captions are longer than `max_caption_tokens`, and are therefore cut in training."""
        return sum(length > self.max_caption_tokens for length in self.caption_lengths)


def collate_examples(examples: Sequence[Tensors], family: Family, *, pad_id: int) -> dict[str, Any]:
    """A training batch, padded on the right, that asks the model for logits only where a caption token is predicted."""
    inputs = collate(examples, family, pad_id=pad_id, side="right")
    return inputs | {family.ids_name.replace("input_ids", "logits_to_keep"): predicting_positions(inputs["labels"])}
