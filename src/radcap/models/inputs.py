"""Images, prompts and captions as model inputs, and batches of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch

from radcap.data.images import open_rgb
from radcap.models.base import LoadedModel
from radcap.models.family import Family, Tensors

IGNORED = -100


def fill_template(template: str, instruction: str) -> str:
    """A model's prompt: its template with the instruction in place."""
    return template.replace("{instruction}", instruction)


def encode(
    loaded: LoadedModel, image: bytes, prompt: str, *, caption: str | None = None, max_caption_tokens: int = 0
) -> tuple[Tensors, bool]:
    """Inputs of one example (first dimension 1) and whether its caption was cut to `max_caption_tokens`.

    With a caption: its tokens and the end token follow the prompt, and labels cover just these.
    Prompt and image tokens are never cut.
    """
    adapter = loaded.family
    features = adapter.encode_prompt(loaded.processor, open_rgb(image), prompt)
    features.pop("attention_mask", None)
    if caption is None:
        return features, False
    full = [*adapter.caption_ids(loaded.processor, caption), adapter.end_id(loaded.processor)]
    input_ids = torch.tensor([full[:max_caption_tokens]])
    sequences = features[adapter.ids_name]
    features["labels"] = torch.cat([torch.full_like(sequences, IGNORED), input_ids], dim=1)
    features[adapter.ids_name] = torch.cat([sequences, input_ids], dim=1)
    for name in adapter.per_token_inputs & features.keys():
        # A caption's token is like the last of the prompt: text, which sees the images that the prompt saw.
        features[name] = torch.cat(
            [features[name], features[name][:, -1:].expand(-1, input_ids.shape[1], *features[name].shape[2:])], dim=1
        )
    return features, len(full) > max_caption_tokens


def collate(
    examples: Sequence[Tensors], adapter: Family, *, pad_id: int, side: Literal["left", "right"]
) -> dict[str, Any]:
    """One batch: what has an entry per token padded on a side, with the ids' attention mask; other inputs stacked.

    Inputs whose shapes differ between examples (tiles of an image) are padded with zeros at their ends.
    """
    ids = adapter.ids_name
    mask = [torch.ones_like(example[ids]) for example in examples]
    batch = {ids.replace("input_ids", "attention_mask"): _pad(mask, 0, left=side == "left")}
    text = {ids, "labels", *adapter.per_token_inputs}
    for name in examples[0]:
        tensors = [example[name] for example in examples]
        value = {ids: pad_id, "labels": IGNORED}.get(name, 0)
        left = name in text and side == "left"
        batch[name] = torch.cat(tensors) if name in adapter.concatenated_inputs else _pad(tensors, value, left=left)
    return batch


def _pad(tensors: Sequence[torch.Tensor], value: int, *, left: bool) -> torch.Tensor:
    """Concatenate (1, ...) tensors, filled up to the largest of each dimension at its end, or at its start."""
    shape = [max(sizes) for sizes in zip(*(t.shape[1:] for t in tensors), strict=True)]
    if all(list(t.shape[1:]) == shape for t in tensors):
        return torch.cat(list(tensors))
    out = tensors[0].new_full((len(tensors), *shape), value)
    for row, tensor in zip(out, tensors, strict=True):
        row[tuple(slice(-n, None) if left else slice(n) for n in tensor.shape[1:])] = tensor[0]
    return out
