"""LLaVA-1.5 (Liu et al. 2024): CLIP ViT, two-layer projector, Llama."""

from collections.abc import Iterable
from typing import Any

from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedModel,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from radcap.models import tokenizers
from radcap.models.family import Family
from radcap.settings import Miniature


class Llava(Family):
    model_class = LlavaForConditionalGeneration
    components = {
        r"model\.vision_tower\.": "vision",
        r"model\.multi_modal_projector\.": "connector",
        r"model\.language_model\.embed_tokens": "embeddings",
        r"model\.language_model\.": "language",
        r"lm_head": "head",
    }
    kinds = {
        "q_proj": "query",
        "k_proj": "key",
        "v_proj": "value",
        "o_proj": "output",
        "out_proj": "output",
        "gate_proj": "gate",
        "up_proj": "up",
        "down_proj": "down",
        "fc1": "fc1",
        "fc2": "fc2",
        "linear_1": "linear",
        "linear_2": "linear",
        "lm_head": "linear",
    }

    def miniature(self, size: Miniature, texts: Iterable[str]) -> tuple[PreTrainedModel, Any]:
        tokenizer = tokenizers.llama_bpe(
            texts, size=size.vocabulary, special=["<image>", "<pad>"], pad_token="<pad>", add_bos_token=True
        )
        processor = LlavaProcessor(
            image_processor=CLIPImageProcessorPil(
                size={"shortest_edge": size.image_size},
                crop_size={"height": size.image_size, "width": size.image_size},
            ),
            tokenizer=tokenizer,
            patch_size=size.patch_size,
            vision_feature_select_strategy="default",
            # CLIP's class token, which the default strategy takes away again
            num_additional_image_tokens=1,
        )
        config = LlavaConfig(
            vision_config=CLIPVisionConfig(
                hidden_size=size.vision_width,
                intermediate_size=4 * size.vision_width,
                num_hidden_layers=size.vision_layers,
                num_attention_heads=size.heads,
                image_size=size.image_size,
                patch_size=size.patch_size,
                projection_dim=size.vision_width,
            ),
            text_config=LlamaConfig(
                vocab_size=len(tokenizer),
                hidden_size=size.width,
                intermediate_size=3 * size.width,
                num_hidden_layers=size.layers,
                num_attention_heads=size.heads,
                num_key_value_heads=size.heads,
                max_position_embeddings=2048,
                bos_token_id=tokenizer.bos_token_id,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
            ),
            image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
            vision_feature_layer=-2,
            vision_feature_select_strategy="default",
            image_seq_length=(size.image_size // size.patch_size) ** 2,
        )
        return LlavaForConditionalGeneration(config), processor

    def load_processor(self, source: str, *, revision: str | None) -> Any:
        # The PIL image processor by name: what is installed beside must not change the pixels.
        image_processor = CLIPImageProcessorPil.from_pretrained(source, revision=revision)
        return LlavaProcessor.from_pretrained(source, revision=revision, image_processor=image_processor)

    def caption_ids(self, processor: Any, caption: str) -> list[int]:
        # Llama's tokenizer puts the blank before the first word by itself.
        return list(processor.tokenizer(caption, add_special_tokens=False)["input_ids"])


FAMILY = Llava()
