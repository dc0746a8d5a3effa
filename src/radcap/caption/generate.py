"""Batched decoding with left padding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch

from radcap.caption.lines import Caption
from radcap.data import clean
from radcap.models.base import Loaded
from radcap.models.inputs import collate, encode
from radcap.progress import track

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import GenerationConfig


def captions(
    loaded: Loaded, rows: Dataset, prompt: str, *, variant: str, batch_size: int, beams: int, max_new_tokens: int
) -> list[Caption]:
    """Caption every row, in the rows' order. Batches hold prompts of similar length, so padding is rare."""
    adapter = loaded.family
    lengths = [encode(loaded, row["image"], prompt)[0][adapter.ids].shape[1] for row in rows]
    order = sorted(range(len(rows)), key=lambda index: (lengths[index], index))
    loaded.model.eval()
    loaded.model.generation_config = _plain(loaded)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    loaded.model.to(device)
    made: dict[int, Caption] = {}
    for chosen in track(_batches(order, batch_size), total=-(-len(order) // batch_size), label=f"generate {variant}"):
        examples = [encode(loaded, rows[index]["image"], prompt)[0] for index in chosen]
        sequences = _decode(loaded, examples, device=device, beams=beams, max_new_tokens=max_new_tokens)
        for index, tokens in zip(chosen, sequences, strict=True):
            made[index] = _caption(loaded, rows[index]["id"], variant, tokens)
    return [made[index] for index in range(len(rows))]


def _batches(order: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    for start in range(0, len(order), size):
        yield order[start : start + size]


def _plain(loaded: Loaded) -> GenerationConfig:
    """Token ids and nothing else: published repositories bring penalties and the like along, which no setting shows."""
    from transformers import GenerationConfig

    return GenerationConfig(
        bos_token_id=loaded.model.generation_config.bos_token_id,
        decoder_start_token_id=loaded.model.generation_config.decoder_start_token_id,
        eos_token_id=loaded.family.end_id(loaded.processor),
        pad_token_id=loaded.family.pad_id(loaded.processor),
    )


@torch.inference_mode()
def _decode(
    loaded: Loaded, examples: list[dict[str, torch.Tensor]], *, device: str, beams: int, max_new_tokens: int
) -> list[list[int]]:
    adapter = loaded.family
    batch = collate(examples, adapter, pad_id=adapter.pad_id(loaded.processor), side="left")
    inputs = {name: _placed(tensor, device, loaded.model.dtype) for name, tensor in batch.items()}
    output = loaded.model.generate(**inputs, do_sample=False, num_beams=beams, max_new_tokens=max_new_tokens)
    return [row.tolist() for row in output[:, batch[adapter.ids].shape[1] :]]


def _placed(tensor: torch.Tensor, device: str, dtype: torch.dtype) -> torch.Tensor:
    return tensor.to(device, dtype) if tensor.is_floating_point() else tensor.to(device)


def _caption(loaded: Loaded, id_: str, variant: str, tokens: list[int]) -> Caption:
    end = loaded.family.end_id(loaded.processor)
    ended = end in tokens
    kept = tokens[: tokens.index(end)] if ended else tokens
    text = loaded.family.tokenizer(loaded.processor).decode(kept, skip_special_tokens=True)
    return Caption(id_, variant, clean.caption(text), len(kept), "end" if ended else "length")
