"""Batched decoding: every family's own forward pass, driven by one search."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import Cache, GenerationConfig
from transformers.generation.utils import MULTIMODAL_INPUTS_TO_DROP_OUTSIDE_PREFILL
from transformers.utils import ModelOutput

from radcap.caption.search import BeamSearch, DecodingOptions, Hypothesis
from radcap.models.base import LoadedModel
from radcap.models.family import Tensors
from radcap.models.inputs import collate


@torch.inference_mode()
def decode(loaded: LoadedModel, examples: Sequence[Tensors], decoding: DecodingOptions) -> list[Hypothesis]:
    """Caption encoded prompts (each with a first dimension of 1) as one left-padded batch on the model's device."""
    adapter, model = loaded.family, loaded.model
    batch = collate(examples, adapter, pad_id=adapter.pad_id(loaded.processor), side="left")
    inputs = {name: to_model(tensor, model) for name, tensor in batch.items()}
    search = BeamSearch(len(examples), decoding, end=adapter.end_id(loaded.processor), device=model.device)
    # transformers encodes the images and makes the cache; the search takes the place of its own.
    model.generate(**inputs, generation_config=_plain(loaded, decoding), custom_generate=_run, search=search)
    return search.best()


def _run(model: Any, input_ids: torch.Tensor, search: BeamSearch, **prepared: Any) -> torch.Tensor:
    """Steps until no image is left. `prepared`: what transformers hands to its own loops."""
    for name in ("logits_processor", "stopping_criteria", "generation_config", "synced_gpus"):
        prepared.pop(name, None)
    inputs = model.prepare_inputs_for_generation(input_ids, is_first_iteration=True, **prepared)
    is_prompt = True
    while True:
        outputs = model(**inputs, return_dict=True)
        prepared = model._update_model_kwargs_for_generation(
            outputs, prepared, is_encoder_decoder=model.config.is_encoder_decoder
        )
        if is_prompt:
            prepared = {k: v for k, v in prepared.items() if k not in MULTIMODAL_INPUTS_TO_DROP_OUTSIDE_PREFILL}
            is_prompt = False
        beams = search.step(outputs.logits[:, -1].float().log_softmax(dim=-1))
        if not search.rows:
            return input_ids
        if beams is not None:
            input_ids = input_ids[beams]
            prepared = {name: _rows(name, value, beams) for name, value in prepared.items()}
        input_ids = torch.cat([input_ids, search.tokens[..., -1].reshape(-1, 1)], dim=1)
        inputs = model.prepare_inputs_for_generation(input_ids, next_sequence_length=1, **prepared)


def _rows(name: str, value: Any, beams: torch.Tensor) -> Any:
    """The chosen rows of what a model carries from step to step."""
    if isinstance(value, Cache):
        value.reorder_cache(beams)
        return value
    if isinstance(value, ModelOutput):
        return type(value)(**{field: _rows(field, inner, beams) for field, inner in value.items()})
    if not isinstance(value, torch.Tensor):
        return value
    # Qwen's positions are (axes, rows, length).
    return value.index_select(-2 if name == "position_ids" else 0, beams)


def to_model(tensor: torch.Tensor, model: Any) -> torch.Tensor:
    """A tensor where the model is, numbers with a point in its precision."""
    return tensor.to(model.device, model.dtype) if tensor.is_floating_point() else tensor.to(model.device)


def _plain(loaded: LoadedModel, decoding: DecodingOptions) -> GenerationConfig:
    """What the cache and the first inputs need and nothing else: published repositories bring penalties and the like
    along, which no setting shows. The end token is the search's matter."""
    config = loaded.model.generation_config
    return GenerationConfig(
        max_new_tokens=decoding.max_new_tokens,
        bos_token_id=config.bos_token_id,
        decoder_start_token_id=config.decoder_start_token_id,
        pad_token_id=loaded.family.pad_id(loaded.processor),
    )
