"""VisionGPT2: ViT-B/16 encoder, GPT-2 decoder with cross-attention, fully fine-tuned. It takes no prompt."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from PIL.Image import Image
from transformers import (
    GPT2Config,
    GPT2Tokenizer,
    PreTrainedModel,
    VisionEncoderDecoderConfig,
    VisionEncoderDecoderModel,
    ViTConfig,
)
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from radcap.models import tokenizers
from radcap.models.family import Family, Tensors
from radcap.settings import Miniature


@dataclass(frozen=True)
class Processor:
    """The two halves that published repositories of this kind keep side by side."""

    image_processor: ViTImageProcessorPil
    tokenizer: GPT2Tokenizer


class VisionGPT2(Family):
    model_class = VisionEncoderDecoderModel
    ids = "decoder_input_ids"
    components = {
        r"encoder\.": "vision",
        r"enc_to_dec_proj": "connector",
        r"decoder\.transformer\.h\.\d+\.(crossattention|ln_cross_attn)": "connector",
        r"decoder\.transformer\.(wte|wpe)": "embeddings",
        r"decoder\.transformer\.": "language",
        r"decoder\.lm_head": "head",
    }
    kinds = {}

    def miniature(self, size: Miniature, texts: Iterable[str]) -> tuple[PreTrainedModel, Any]:
        end = "<|endoftext|>"
        tokenizer = tokenizers.byte_level_bpe(
            texts,
            size=size.vocabulary,
            special=[end],
            kind=GPT2Tokenizer,
            bos_token=end,
            eos_token=end,
            unk_token=end,
        )
        side = {"height": size.image_size, "width": size.image_size}
        encoder = ViTConfig(
            hidden_size=size.vision_width,
            intermediate_size=4 * size.vision_width,
            num_hidden_layers=size.vision_layers,
            num_attention_heads=size.heads,
            image_size=size.image_size,
            patch_size=size.patch_size,
        )
        decoder = GPT2Config(
            vocab_size=len(tokenizer),
            n_embd=size.width,
            n_layer=size.layers,
            n_head=size.heads,
            n_positions=1024,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            is_decoder=True,
            add_cross_attention=True,
        )
        config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder)
        config.decoder_start_token_id = tokenizer.bos_token_id
        config.pad_token_id = tokenizer.eos_token_id
        return VisionEncoderDecoderModel(config=config), Processor(ViTImageProcessorPil(size=side), tokenizer)

    def load_processor(self, source: str, *, revision: str | None) -> Any:
        return Processor(
            ViTImageProcessorPil.from_pretrained(source, revision=revision),
            GPT2Tokenizer.from_pretrained(source, revision=revision),
        )

    def save_processor(self, processor: Any, folder: str) -> None:
        processor.image_processor.save_pretrained(folder)
        processor.tokenizer.save_pretrained(folder)

    def encode_prompt(self, processor: Any, image: Image, prompt: str) -> Tensors:
        pixels = processor.image_processor(images=[image], return_tensors="pt")["pixel_values"]
        return {"pixel_values": pixels, self.ids: torch.tensor([[processor.tokenizer.bos_token_id]])}

    def caption_ids(self, processor: Any, caption: str) -> list[int]:
        return list(processor.tokenizer(caption, add_special_tokens=False)["input_ids"])


FAMILY = VisionGPT2()
