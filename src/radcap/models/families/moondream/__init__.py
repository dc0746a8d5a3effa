"""MoonDream2 (2024 releases): SigLIP ViT, two-layer projection, Phi-1.5."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from PIL.Image import Image
from transformers import CodeGenTokenizer, PhiConfig, PreTrainedModel, SiglipVisionConfig

from radcap.models import tokenizers
from radcap.models.families.moondream.config import VISION, MoondreamConfig
from radcap.models.families.moondream.model import Moondream
from radcap.models.families.moondream.processor import Processor
from radcap.models.families.moondream.weights import PUBLISHED, convert, model_type, read_config, read_tensors
from radcap.models.family import Family, Tensors
from radcap.models.hub import download
from radcap.settings import Miniature

END = "<|endoftext|>"


class MoondreamFamily(Family):
    model_classes = {MoondreamConfig.model_type: Moondream, PUBLISHED: Moondream}
    components = {
        r"vision_model\.": "vision",
        r"projection\.": "connector",
        r"text_model\.model\.embed_tokens": "embeddings",
        r"text_model\.model\.": "language",
        r"text_model\.lm_head": "head",
    }
    extra_kinds = {r"^projection\.fc\d$|lm_head$": "linear", r"self_attn\.dense$": "output"}

    def miniature(self, size: Miniature, texts: Iterable[str]) -> tuple[PreTrainedModel, Any]:
        tokenizer = tokenizers.byte_level_bpe(
            texts,
            size=size.vocabulary,
            special=[END],
            kind=CodeGenTokenizer,
            bos_token=END,
            eos_token=END,
            pad_token=END,
            unk_token=END,
        )
        vision = {
            "hidden_size": size.vision_width,
            "intermediate_size": 4 * size.vision_width,
            "num_hidden_layers": size.vision_layers,
            "num_attention_heads": size.heads,
            "image_size": size.image_size,
            "patch_size": size.patch_size,
        }
        config = MoondreamConfig(
            vision_config=SiglipVisionConfig(**{**VISION, **vision}),
            text_config=PhiConfig(
                # one more for the image's placeholder, which is no token of the tokenizer
                vocab_size=len(tokenizer) + 1,
                hidden_size=size.width,
                intermediate_size=4 * size.width,
                num_hidden_layers=size.layers,
                num_attention_heads=size.heads,
                num_key_value_heads=size.key_value_heads,
            ),
            projection_size=4 * size.width,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
        return self.build(config), Processor(tokenizer, config)

    def load_model(self, source: str, *, revision: str | None, dtype: str, **options: Any) -> PreTrainedModel:
        """As of every family. A published checkpoint's weights are renamed on the way, all of them: else ValueError."""
        folder = _folder(source, revision)
        if model_type(folder) != PUBLISHED:
            return super().load_model(str(folder), revision=None, dtype=dtype, **options)
        config = read_config(folder)
        state = convert(read_tensors(folder), config)
        model: PreTrainedModel = Moondream.from_pretrained(
            None, config=config, state_dict=state, dtype=dtype, **options
        )
        return model

    def load_processor(self, source: str, *, revision: str | None, image: Mapping[str, Any]) -> Any:
        if image:
            raise ValueError(f"image: {min(image)!r} is not allowed; MoonDream2's weights fix its images")
        folder = _folder(source, revision)
        config, tokenizer = read_config(folder), CodeGenTokenizer.from_pretrained(folder)
        # Without its files transformers makes a tokenizer of nothing; a whole one knows every byte.
        if tokenizer.eos_token_id != config.eos_token_id or not 256 < len(tokenizer) <= config.image_token_id:
            raise ValueError(
                f"the tokenizer ({len(tokenizer)} tokens, end {tokenizer.eos_token_id}) is not the model's "
                f"(257 to {config.image_token_id} tokens, end {config.eos_token_id})"
            )
        return Processor(tokenizer, config)

    def save_processor(self, processor: Any, folder: str) -> None:
        # What else it needs is in the model's config.json.
        processor.tokenizer.save_pretrained(folder)

    def encode_prompt(self, processor: Any, image: Image, prompt: str) -> Tensors:
        inputs: Tensors = processor(image, prompt)
        return inputs


def _folder(source: str, revision: str | None) -> Path:
    path = Path(source).expanduser()
    return path if path.is_dir() else download(source, revision or "main")


FAMILY = MoondreamFamily()
