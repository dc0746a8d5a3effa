"""IDEFICS (Laurençon et al. 2023): CLIP ViT, perceiver resampler, gated cross-attention between Llama's layers."""

from collections.abc import Iterable, Mapping
from typing import Any

from PIL.Image import Image
from transformers import (
    IdeficsConfig,
    IdeficsForVisionText2Text,
    IdeficsProcessor,
    PreTrainedModel,
)
from transformers.models.idefics.image_processing_pil_idefics import IdeficsImageProcessorPil

from radcap.models import tokenizers
from radcap.models.family import Family, Tensors, load_image_processor
from radcap.settings import Miniature

IMAGE, FAKE = "<image>", "<fake_token_around_image>"
END = "<end_of_utterance>"
# Latents of the perceiver per image, in a miniature.
LATENTS = 8


class Idefics(Family):
    model_classes = {"idefics": IdeficsForVisionText2Text}
    per_token_inputs = frozenset({"image_attention_mask"})
    components = {
        r"model\.vision_model\.": "vision",
        r"model\.(perceiver_resampler|gated_cross_attn_layers)\.": "connector",
        r"model\.embed_tokens": "embeddings",
        r"model\.": "language",
        r"lm_head": "head",
    }
    extra_kinds = {r"\.output_proj$": "output", r"\.c_proj$": "fc2", r"\.fc$": "fc1", r"lm_head$": "linear"}

    def miniature(self, size: Miniature, texts: Iterable[str]) -> tuple[PreTrainedModel, Any]:
        # The image's tokens are additional ones, behind the vocabulary of the text.
        special = [FAKE, IMAGE, END]
        tokenizer = tokenizers.llama_bpe(
            texts, size=size.vocabulary, special=[], added=special, pad_token="<unk>", add_bos_token=False
        )
        processor = IdeficsProcessor(
            image_processor=IdeficsImageProcessorPil(image_size=size.image_size),
            tokenizer=tokenizer,
            image_size=size.image_size,
        )
        config = IdeficsConfig(
            vocab_size=len(tokenizer) - len(special),
            additional_vocab_size=len(special),
            hidden_size=size.width,
            intermediate_size=3 * size.width,
            num_hidden_layers=size.layers,
            num_attention_heads=size.heads,
            max_position_embeddings=2048,
            # Published weights bring open gates along; a miniature has no time to open closed ones.
            alpha_initializer="ones",
            alpha_type="float",
            cross_layer_interval=1,
            qk_layer_norms=True,
            freeze_text_layers=False,
            freeze_vision_layers=False,
            use_resampler=True,
            vision_config={
                "embed_dim": size.vision_width,
                "intermediate_size": 4 * size.vision_width,
                "num_hidden_layers": size.vision_layers,
                "num_attention_heads": size.heads,
                "image_size": size.image_size,
                "patch_size": size.patch_size,
            },
            perceiver_config={
                "resampler_n_latents": LATENTS,
                "resampler_depth": 1,
                "resampler_n_heads": size.heads,
                "resampler_head_dim": size.vision_width // size.heads,
                "qk_layer_norms_perceiver": True,
            },
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
        return self.build(config), processor

    def load_processor(self, source: str, *, revision: str | None, image: Mapping[str, Any]) -> Any:
        processor = load_image_processor(IdeficsImageProcessorPil, source, revision=revision, image=image)
        return IdeficsProcessor.from_pretrained(source, revision=revision, image_processor=processor)

    def encode_prompt(self, processor: Any, image: Image, prompt: str) -> Tensors:
        # The processor takes the image in its place among the texts and adds the tokens around it.
        before, _, after = prompt.partition(IMAGE)
        parts = [part for part in (before, image, after) if part]
        return dict(processor(text=[parts], return_tensors="pt"))

    def end_id(self, processor: Any) -> int:
        return int(processor.tokenizer.convert_tokens_to_ids(END))

    def caption_ids(self, processor: Any, caption: str) -> list[int]:
        # Llama's tokenizer puts the blank before the first word by itself.
        return list(processor.tokenizer(caption, add_special_tokens=False)["input_ids"])


FAMILY = Idefics()
