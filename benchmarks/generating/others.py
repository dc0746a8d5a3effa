"""The two ways of transformers' documentation: one image after the other, and the image-text-to-text pipeline."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from transformers import GenerationConfig, ImageTextToTextPipeline

from radcap.caption.search import DecodingOptions
from radcap.data.images import open_rgb
from radcap.models.base import LoadedModel

# Where transformers' pipeline can take the model: its own processors, none of which Qwen's images, MoonDream2 or the
# encoder-decoders have here.
PIPELINE = ("llava", "llava_next", "idefics3")


def loop(loaded: LoadedModel, rows: Any, prompts: Sequence[str], decoding: DecodingOptions) -> Callable[[], list[str]]:
    """Process an image and its prompt, generate, decode the new tokens; then the next image."""
    adapter, processor, model = loaded.family, loaded.processor, loaded.model
    config, tokenizer = _config(loaded, decoding), adapter.tokenizer(processor)

    @torch.inference_mode()
    def run() -> list[str]:
        texts = []
        for data, prompt in zip(rows["image"], prompts, strict=True):
            inputs = adapter.encode_prompt(processor, open_rgb(data), prompt)
            tokens = model.generate(**inputs, generation_config=config)[0, inputs[adapter.ids_name].shape[1] :]
            texts.append(tokenizer.decode(tokens, skip_special_tokens=True))
        return texts

    return run


def pipeline(
    loaded: LoadedModel, rows: Any, prompts: Sequence[str], decoding: DecodingOptions, batch_size: int
) -> Callable[[], list[str]] | None:
    """transformers' ready-made pipeline in batches; None where it cannot take the model."""
    if loaded.model.config.model_type not in PIPELINE:
        return None
    tokenizer = loaded.family.tokenizer(loaded.processor)
    tokenizer.padding_side = "left"
    loaded.model.generation_config = _config(loaded, decoding)
    made = ImageTextToTextPipeline(model=loaded.model, processor=loaded.processor)

    def run() -> list[str]:
        images = [open_rgb(data) for data in rows["image"]]
        options = {"max_new_tokens": decoding.max_new_tokens, "batch_size": batch_size, "return_full_text": False}
        found = made(text=list(prompts), images=images, **options)
        return [one["generated_text"] for one in (each[0] if isinstance(each, list) else each for each in found)]

    return run


def _config(loaded: LoadedModel, decoding: DecodingOptions) -> GenerationConfig:
    own = loaded.model.generation_config
    return GenerationConfig(
        do_sample=False,
        max_new_tokens=decoding.max_new_tokens,
        bos_token_id=own.bos_token_id,
        decoder_start_token_id=own.decoder_start_token_id,
        eos_token_id=loaded.family.end_id(loaded.processor),
        pad_token_id=loaded.family.pad_id(loaded.processor),
    )
