"""Qwen2-VL (Wang et al. 2024) and Qwen2.5-VL (Bai et al. 2025): a ViT at the image's resolution, a merger, Qwen2."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from PIL.Image import Image
from transformers import (
    PreTrainedConfig,
    PreTrainedModel,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Tokenizer,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
)
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from radcap.models import tokenizers
from radcap.models.family import Family, Tensors, load_image_processor
from radcap.settings import Miniature

IMAGE = "<|image_pad|>"
END = "<|im_end|>"
SPECIAL = ["<|endoftext|>", "<|im_start|>", END, "<|vision_start|>", "<|vision_end|>", IMAGE, "<|video_pad|>"]
MERGE = 2


@dataclass(frozen=True)
class Processor:
    """Qwen's own processor wants a video processor, which wants torchvision; images need these two alone."""

    image_processor: Qwen2VLImageProcessorPil
    tokenizer: Qwen2Tokenizer


class QwenVL(Family):
    model_classes = {"qwen2_vl": Qwen2VLForConditionalGeneration, "qwen2_5_vl": Qwen2_5_VLForConditionalGeneration}
    per_token_inputs = frozenset({"mm_token_type_ids"})
    concatenated_inputs = frozenset({"pixel_values", "image_grid_thw"})
    components = {
        r"model\.visual\.merger\.": "connector",
        r"model\.visual\.": "vision",
        r"model\.language_model\.embed_tokens": "embeddings",
        r"model\.language_model\.": "language",
        r"lm_head": "head",
    }
    extra_kinds = {r"attn\.qkv$": "qkv", r"attn\.proj$": "output", r"merger\.mlp\.\d$|lm_head$": "linear"}

    def miniature(self, size: Miniature, texts: Iterable[str]) -> tuple[PreTrainedModel, Any]:
        tokenizer = tokenizers.byte_level_bpe(
            texts, size=size.vocabulary, special=SPECIAL, kind=Qwen2Tokenizer, eos_token=END, pad_token=SPECIAL[0]
        )
        factor = size.patch_size * MERGE
        image_processor = Qwen2VLImageProcessorPil(
            patch_size=size.patch_size,
            merge_size=MERGE,
            min_pixels=4 * factor**2,
            max_pixels=size.image_size**2,
        )
        return self.build(_config(size, tokenizer)), Processor(image_processor, tokenizer)

    def load_processor(self, source: str, *, revision: str | None, image: Mapping[str, Any]) -> Any:
        return Processor(
            load_image_processor(Qwen2VLImageProcessorPil, source, revision=revision, image=image),
            Qwen2Tokenizer.from_pretrained(source, revision=revision),
        )

    def save_processor(self, processor: Any, folder: str) -> None:
        processor.image_processor.save_pretrained(folder)
        processor.tokenizer.save_pretrained(folder)

    def end_id(self, processor: Any) -> int:
        return int(processor.tokenizer.convert_tokens_to_ids(END))

    def encode_prompt(self, processor: Any, image: Image, prompt: str) -> Tensors:
        features = dict(processor.image_processor(images=[image], return_tensors="pt"))
        tokens = int(features["image_grid_thw"].prod()) // processor.image_processor.merge_size**2
        text = prompt.replace(IMAGE, IMAGE * tokens)
        features[self.ids_name] = processor.tokenizer([text], return_tensors="pt", add_special_tokens=False)[
            "input_ids"
        ]
        is_image = features[self.ids_name] == processor.tokenizer.convert_tokens_to_ids(IMAGE)
        return features | {"mm_token_type_ids": is_image.int()}

    def image_tokens(self, processor: Any, width: int, height: int) -> int:
        patches = int(processor.image_processor.get_number_of_image_patches(height, width))
        return patches // int(processor.image_processor.merge_size**2)

    def caption_ids(self, processor: Any, caption: str) -> list[int]:
        # The template ends in a line break, after which no blank stands.
        return list(processor.tokenizer(caption, add_special_tokens=False)["input_ids"])


def _config(size: Miniature, tokenizer: Any) -> PreTrainedConfig:
    def id_of(token: str) -> int:
        return int(tokenizer.convert_tokens_to_ids(token))

    head = size.width // size.heads
    # Of a head's pairs of features, a quarter turns with time, the others with height and width.
    time = head // 8
    rest = head // 2 - time
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": size.width,
        "intermediate_size": 3 * size.width,
        "num_hidden_layers": size.layers,
        "num_attention_heads": size.heads,
        "num_key_value_heads": size.key_value_heads,
        "max_position_embeddings": 2048,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 1000000.0,
            "mrope_section": [time, rest - rest // 2, rest // 2],
        },
        "bos_token_id": id_of("<|endoftext|>"),
        "eos_token_id": id_of(END),
        "pad_token_id": id_of("<|endoftext|>"),
    }
    vision: dict[str, Any] = {
        "depth": size.vision_layers,
        "num_heads": size.heads,
        "patch_size": size.patch_size,
        "spatial_merge_size": MERGE,
        "temporal_patch_size": 2,
    }
    ids = {
        "image_token_id": id_of(IMAGE),
        "video_token_id": id_of("<|video_pad|>"),
        "vision_start_token_id": id_of("<|vision_start|>"),
        "vision_end_token_id": id_of("<|vision_end|>"),
    }
    if size.model_type == "qwen2_vl":
        vision |= {"embed_dim": size.vision_width, "hidden_size": size.width, "mlp_ratio": 4}
        return Qwen2VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=True, **ids)
    vision |= {
        "hidden_size": size.vision_width,
        "intermediate_size": 3 * size.vision_width,
        "out_hidden_size": size.width,
        # Windows of two by two merged patches in all layers but the last, as published.
        "window_size": 2 * MERGE * size.patch_size,
        "fullatt_block_indexes": [size.vision_layers - 1],
    }
    return Qwen2_5_VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=True, **ids)


FAMILY = QwenVL()
