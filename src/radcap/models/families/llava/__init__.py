"""LLaVA-1.5 and 1.6 (Liu et al. 2024): CLIP ViT, two-layer projector, Llama, Vicuna or Mistral.

1.6 (LLaVA-NeXT) sees the whole image and, in tiles, an enlarged one on the grid that fits its shape best.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    LlavaNextProcessor,
    LlavaProcessor,
    MistralConfig,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil

from radcap.models import tokenizers
from radcap.models.family import Family, load_image_processor
from radcap.settings import Miniature

IMAGE = "<image>"
PROCESSORS = {
    "llava": (LlavaProcessor, CLIPImageProcessorPil),
    "llava_next": (LlavaNextProcessor, LlavaNextImageProcessorPil),
}
TEXT_CONFIGS = {"llama": LlamaConfig, "mistral": MistralConfig}


class Llava(Family):
    model_classes = {"llava": LlavaForConditionalGeneration, "llava_next": LlavaNextForConditionalGeneration}
    components = {
        r"model\.vision_tower\.": "vision",
        r"model\.(multi_modal_projector|image_newline)": "connector",
        r"model\.language_model\.embed_tokens": "embeddings",
        r"model\.language_model\.": "language",
        r"lm_head": "head",
    }
    extra_kinds = {r"multi_modal_projector\.linear_\d$|lm_head$": "linear"}

    def miniature(self, size: Miniature, texts: Iterable[str]) -> tuple[PreTrainedModel, Any]:
        tokenizer = tokenizers.llama_bpe(
            texts, size=size.vocabulary, special=[IMAGE, "<pad>"], pad_token="<pad>", add_bos_token=True
        )
        processor_class, image_processor_class = PROCESSORS[size.model_type]
        side = size.image_size
        grid = [[side, 2 * side], [2 * side, side], [2 * side, 2 * side]]
        processor = processor_class(
            image_processor=image_processor_class(
                size={"shortest_edge": side},
                crop_size={"height": side, "width": side},
                **({"image_grid_pinpoints": grid} if size.model_type == "llava_next" else {}),
            ),
            tokenizer=tokenizer,
            patch_size=size.patch_size,
            vision_feature_select_strategy="default",
            # CLIP's class token, which the default strategy takes away again
            num_additional_image_tokens=1,
        )
        return self.build(_config(size, tokenizer, grid)), processor

    def load_processor(self, source: str, *, revision: str | None, image: Mapping[str, Any]) -> Any:
        tree, _ = PreTrainedConfig.get_config_dict(source, revision=revision)
        processor_class, image_processor_class = PROCESSORS[tree["model_type"]]
        # The PIL image processor by name: what is installed beside must not change the pixels.
        processor = load_image_processor(image_processor_class, source, revision=revision, image=image)
        return processor_class.from_pretrained(source, revision=revision, image_processor=processor)

    def image_tokens(self, processor: Any, width: int, height: int) -> int:
        return int(processor._get_num_multimodal_tokens([[height, width]])["num_image_tokens"][0])

    def caption_ids(self, processor: Any, caption: str) -> list[int]:
        # Llama's tokenizer puts the blank before the first word by itself.
        return list(processor.tokenizer(caption, add_special_tokens=False)["input_ids"])


def _config(size: Miniature, tokenizer: Any, grid: list[list[int]]) -> PreTrainedConfig:
    vision = CLIPVisionConfig(
        hidden_size=size.vision_width,
        intermediate_size=4 * size.vision_width,
        num_hidden_layers=size.vision_layers,
        num_attention_heads=size.heads,
        image_size=size.image_size,
        patch_size=size.patch_size,
        projection_dim=size.vision_width,
    )
    text = TEXT_CONFIGS[size.text_type](
        vocab_size=len(tokenizer),
        hidden_size=size.width,
        intermediate_size=3 * size.width,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.key_value_heads,
        max_position_embeddings=2048,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    shared = {
        "vision_config": vision,
        "text_config": text,
        "image_token_index": tokenizer.convert_tokens_to_ids(IMAGE),
        "vision_feature_layer": -2,
        "vision_feature_select_strategy": "default",
        "image_seq_length": (size.image_size // size.patch_size) ** 2,
    }
    if size.model_type == "llava_next":
        return LlavaNextConfig(**shared, image_grid_pinpoints=grid)
    return LlavaConfig(**shared)


FAMILY = Llava()
