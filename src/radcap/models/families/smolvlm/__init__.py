"""SmolVLM (Marafioti et al. 2025), published as Idefics3: SigLIP ViT, pixel shuffle and a projection, Llama.

An image is enlarged and split into tiles, which the tower sees beside the whole image.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from transformers import (
    GPT2Tokenizer,
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3Processor,
    PreTrainedModel,
)
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil

from radcap.models import tokenizers
from radcap.models.family import Family, load_image_processor
from radcap.settings import Miniature

SHUFFLE = 2
END = "<end_of_utterance>"
SPECIAL = [
    "<|endoftext|>",
    "<|im_start|>",
    END,
    "<fake_token_around_image>",
    "<image>",
    "<global-img>",
    *(f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)),
]


class SmolVLM(Family):
    model_classes = {"idefics3": Idefics3ForConditionalGeneration}
    components = {
        r"model\.vision_model\.": "vision",
        r"model\.connector\.": "connector",
        r"model\.text_model\.embed_tokens": "embeddings",
        r"model\.text_model\.": "language",
        r"lm_head": "head",
    }
    extra_kinds = {r"modality_projection\.proj$|lm_head$": "linear"}

    def miniature(self, size: Miniature, texts: Iterable[str]) -> tuple[PreTrainedModel, Any]:
        tokenizer = tokenizers.byte_level_bpe(
            texts,
            size=size.vocabulary,
            special=SPECIAL,
            kind=GPT2Tokenizer,
            bos_token="<|im_start|>",
            eos_token=END,
            pad_token="<|endoftext|>",
            unk_token="<|endoftext|>",
        )
        processor = Idefics3Processor(
            image_processor=Idefics3ImageProcessorPil(
                # The image is enlarged to two tiles a side, and a tile is as large as the tower takes.
                size={"longest_edge": 2 * size.image_size},
                max_image_size={"longest_edge": size.image_size},
                do_image_splitting=True,
                resample=1,
                image_mean=[0.5] * 3,
                image_std=[0.5] * 3,
            ),
            tokenizer=tokenizer,
            image_seq_len=(size.image_size // size.patch_size // SHUFFLE) ** 2,
        )
        config = Idefics3Config(
            vision_config={
                "hidden_size": size.vision_width,
                "intermediate_size": 4 * size.vision_width,
                "num_hidden_layers": size.vision_layers,
                "num_attention_heads": size.heads,
                "image_size": size.image_size,
                "patch_size": size.patch_size,
            },
            text_config={
                "model_type": size.text_type,
                "vocab_size": len(tokenizer),
                "hidden_size": size.width,
                "intermediate_size": 3 * size.width,
                "num_hidden_layers": size.layers,
                "num_attention_heads": size.heads,
                "num_key_value_heads": size.key_value_heads,
                "max_position_embeddings": 2048,
                "bos_token_id": tokenizer.bos_token_id,
                "eos_token_id": tokenizer.eos_token_id,
                "pad_token_id": tokenizer.pad_token_id,
            },
            scale_factor=SHUFFLE,
            image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
            pad_token_id=tokenizer.pad_token_id,
            tie_word_embeddings=False,
        )
        return self.build(config), processor

    def load_processor(self, source: str, *, revision: str | None, image: Mapping[str, Any]) -> Any:
        processor = load_image_processor(Idefics3ImageProcessorPil, source, revision=revision, image=image)
        return Idefics3Processor.from_pretrained(source, revision=revision, image_processor=processor)

    def image_tokens(self, processor: Any, width: int, height: int) -> int:
        return int(processor._get_num_multimodal_tokens([[height, width]])["num_image_tokens"][0])

    def end_id(self, processor: Any) -> int:
        return int(processor.tokenizer.convert_tokens_to_ids(END))


FAMILY = SmolVLM()
