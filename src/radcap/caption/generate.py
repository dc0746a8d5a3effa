"""Captions of a split: planned in batches, decoded, kept as they come."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch.utils.data import DataLoader

from radcap.caption.decode import decode
from radcap.caption.records import Caption
from radcap.caption.search import DecodingOptions, Hypothesis
from radcap.caption.shards import CaptionShards
from radcap.data import cleaning
from radcap.models.base import LoadedModel
from radcap.models.family import Tensors
from radcap.models.inputs import encode
from radcap.runtime.progress import track

if TYPE_CHECKING:
    from datasets import Dataset

PLACES = 4


class ProcessShare(NamedTuple):
    """Which batches are this process's: every `size`-th from number `rank` on."""

    rank: int
    size: int


SINGLE_PROCESS = ProcessShare(0, 1)


def generate_captions(
    opened: Callable[[], LoadedModel],
    rows: Dataset,
    prompts: Sequence[str],
    *,
    variant: str,
    decoding: DecodingOptions,
    batch_size: int,
    shards: CaptionShards | None = None,
    share: ProcessShare = SINGLE_PROCESS,
    workers: int = 0,
) -> list[Caption]:
    """Caption every row with its prompt, in the rows' order; of several processes, those known to this one.

    `opened` gives the model, on its device; it is asked only if captions are missing in `shards`. Batches are the same
    whatever was there before and whoever decodes them, so the bytes are too. So many `workers` decode and process the
    next batches' images meanwhile.
    """
    ids = list(rows["id"])
    made = shards.read(variant) if shards else {}
    if not all(id_ in made for id_ in ids):
        loaded = opened()
        loaded.model.eval()
        todo = [
            batch
            for batch in length_sorted_batches(loaded, rows, prompts, size=batch_size)[share.rank :: share.size]
            if not all(ids[index] in made for index in batch)
        ]
        inputs = DataLoader(_Inputs(loaded, rows, prompts), batch_sampler=todo, collate_fn=list, num_workers=workers)
        work = zip(todo, inputs, strict=True)
        for batch, examples in track(work, total=len(todo), label=f"generate {variant}"):
            new = [
                _caption(loaded, ids[index], variant, decoded)
                for index, decoded in zip(batch, decode(loaded, examples, decoding), strict=True)
            ]
            made |= {caption.id: caption for caption in new}
            if shards:
                shards.add(variant, new)
    return [made[id_] for id_ in ids if id_ in made]


@dataclass(frozen=True)
class _Inputs(torch.utils.data.Dataset):  # type: ignore[type-arg]
    """A split's images with their prompts, as a model's inputs."""

    loaded: LoadedModel
    rows: Dataset
    prompts: Sequence[str]

    def __getitem__(self, index: int) -> Tensors:
        return encode(self.loaded, self.rows[index]["image"], self.prompts[index])[0]


def length_sorted_batches(loaded: LoadedModel, rows: Dataset, prompts: Sequence[str], *, size: int) -> list[list[int]]:
    """Rows in batches of prompts of like length, image tokens counted, so that little is padding; longest first, so
    that too little memory shows at once."""
    adapter, processor = loaded.family, loaded.processor
    words = cache(lambda text: len(adapter.tokenizer(processor)(text)["input_ids"]))
    sizes = zip(rows["width"], rows["height"], strict=True)
    pictures = [adapter.image_tokens(processor, width, height) for width, height in sizes]
    lengths = [picture + words(prompt) for picture, prompt in zip(pictures, prompts, strict=True)]
    order = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    return list(_cut(order, size))


def _cut(order: Sequence[int], size: int) -> Iterator[list[int]]:
    for start in range(0, len(order), size):
        yield list(order[start : start + size])


def _caption(loaded: LoadedModel, id_: str, variant: str, decoded: Hypothesis) -> Caption:
    raw = loaded.family.tokenizer(loaded.processor).decode(decoded.tokens, skip_special_tokens=True)
    return Caption(
        id=id_,
        variant=variant,
        raw=raw,
        caption=cleaning.clean_caption(raw),
        tokens=len(decoded.tokens),
        finish="end" if decoded.ended else "length",
        logprob=round(decoded.logprob, PLACES),
    )
