"""What families of an image encoder and a text decoder with cross-attention share. They take no prompt."""

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from PIL.Image import Image
from transformers import (
    GPT2Tokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    VisionEncoderDecoderConfig,
    VisionEncoderDecoderModel,
)
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from radcap.models import tokenizers
from radcap.models.family import Family, Tensors, load_image_processor
from radcap.settings import Miniature

END = "<|endoftext|>"


@dataclass(frozen=True)
class Processor:
    """The two halves that published repositories of this kind keep side by side."""

    image_processor: ViTImageProcessorPil
    tokenizer: GPT2Tokenizer


class EncoderDecoder(Family):
    """A family of transformers' VisionEncoderDecoderModel with GPT-2's tokenizer; it states its two halves."""

    model_classes = {"vision-encoder-decoder": VisionEncoderDecoderModel}
    ids_name = "decoder_input_ids"

    @abstractmethod
    def halves(self, size: Miniature, tokenizer: GPT2Tokenizer) -> tuple[PreTrainedConfig, PreTrainedConfig]:
        """A miniature's encoder and decoder."""

    def image_processor(self, side: int) -> ViTImageProcessorPil:
        """What makes (3, side, side) pixels of a picture of any shape, all of it in view."""
        return ViTImageProcessorPil(size={"height": side, "width": side})

    def miniature(self, size: Miniature, texts: Iterable[str]) -> tuple[PreTrainedModel, Any]:
        tokenizer = tokenizers.byte_level_bpe(
            texts,
            size=size.vocabulary,
            special=[END],
            kind=GPT2Tokenizer,
            bos_token=END,
            eos_token=END,
            unk_token=END,
        )
        config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(*self.halves(size, tokenizer))
        config.decoder_start_token_id = tokenizer.bos_token_id
        config.pad_token_id = tokenizer.eos_token_id
        return self.build(config), Processor(self.image_processor(size.image_size), tokenizer)

    def load_processor(self, source: str, *, revision: str | None, image: Mapping[str, Any]) -> Any:
        return Processor(
            load_image_processor(ViTImageProcessorPil, source, revision=revision, image=image),
            GPT2Tokenizer.from_pretrained(source, revision=revision),
        )

    def save_processor(self, processor: Any, folder: str) -> None:
        processor.image_processor.save_pretrained(folder)
        processor.tokenizer.save_pretrained(folder)

    def encode_prompt(self, processor: Any, image: Image, prompt: str) -> Tensors:
        pixels = processor.image_processor(images=[image], return_tensors="pt")["pixel_values"]
        return {"pixel_values": pixels, self.ids_name: torch.tensor([[processor.tokenizer.bos_token_id]])}

    def caption_ids(self, processor: Any, caption: str) -> list[int]:
        return list(processor.tokenizer(caption, add_special_tokens=False)["input_ids"])
