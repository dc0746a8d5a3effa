"""CnnTransformer: CheXNet's DenseNet-121, one transformer layer over its map, BART's decoder, fully fine-tuned."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import BartConfig, GPT2Tokenizer, PreTrainedConfig, PreTrainedModel
from transformers.image_utils import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from radcap import files
from radcap.errors import UserError
from radcap.models.encoder_decoder import EncoderDecoder, Processor
from radcap.models.families.cnn_transformer import chexnet
from radcap.models.families.cnn_transformer.encoder import CnnEncoderConfig
from radcap.models.initialization import initialize_weights
from radcap.settings import Miniature

FULL_SIZE = Path(__file__).parents[2] / "full_size" / "cnn_transformer.json"
# Of the weights that CheXNet does not bring along; every stage that loads its file draws the same ones.
SEED = 0
# The tokenizer where none lies beside CheXNet's file, and its commit.
GPT2 = ("openai-community/gpt2", "607a30d783dfa663caf39e06633721c8d4cfcd7e")


class CnnTransformer(EncoderDecoder):
    components = {
        r"encoder\.densenet\.": "vision",
        r"encoder\.": "connector",
        r"decoder\.model\.decoder\.layers\.\d+\.encoder_attn": "connector",
        r"decoder\.model\.decoder\.embed_": "embeddings",
        r"decoder\.model\.": "language",
        r"decoder\.lm_head": "head",
    }
    extra_kinds = {r"encoder\.projection$|lm_head$": "linear"}

    def halves(self, size: Miniature, tokenizer: GPT2Tokenizer) -> tuple[PreTrainedConfig, PreTrainedConfig]:
        growth = size.vision_width // 8
        encoder = CnnEncoderConfig(
            image_size=size.image_size,
            init_features=2 * growth,
            growth_rate=growth,
            block_config=[size.vision_layers] * _blocks(size.patch_size),
            hidden_size=size.width,
            num_attention_heads=size.heads,
            intermediate_size=4 * size.width,
        )
        decoder = BartConfig(
            vocab_size=len(tokenizer),
            d_model=size.width,
            decoder_layers=size.layers,
            decoder_attention_heads=size.heads,
            decoder_ffn_dim=4 * size.width,
            # BART's decoder takes its cache's sizes from the encoder that it does not have.
            encoder_layers=size.layers,
            encoder_attention_heads=size.heads,
            max_position_embeddings=1024,
            dropout=0.0,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            # Padding is the end token here, whose embedding must train.
            pad_token_id=None,
            decoder_start_token_id=tokenizer.bos_token_id,
            forced_eos_token_id=None,
            is_encoder_decoder=False,
        )
        return encoder, decoder

    def image_processor(self, side: int) -> ViTImageProcessorPil:
        mean, std = list(IMAGENET_DEFAULT_MEAN), list(IMAGENET_DEFAULT_STD)
        return ViTImageProcessorPil(size={"height": side, "width": side}, image_mean=mean, image_std=std)

    def load_model(self, source: str, *, revision: str | None, dtype: str, **options: Any) -> PreTrainedModel:
        """A saved model, or at full size CheXNet's features from its file with fresh weights for all the rest."""
        if not chexnet.is_checkpoint(source):
            return super().load_model(source, revision=revision, dtype=dtype, **options)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(SEED)
            model = self.build(self.config(files.read_json(FULL_SIZE)))
            initialize_weights(model)
        dropped = chexnet.load_features(model.encoder.densenet, Path(source).expanduser())
        print(f"{source}: DenseNet loaded, {dropped} tensors of its classifier left out; all else is fresh")
        return model.to(getattr(torch, dtype)).eval()

    def load_processor(self, source: str, *, revision: str | None, image: Mapping[str, Any]) -> Any:
        """The saved processor; with CheXNet's file GPT-2's tokenizer from its folder, else from the hub."""
        if not chexnet.is_checkpoint(source):
            return super().load_processor(source, revision=revision, image=image)
        if image:
            raise ValueError(f"image: {min(image)!r} is not allowed with CheXNet's file")
        folder = Path(source).expanduser().parent
        beside = (folder / "vocab.json").exists() or (folder / "tokenizer.json").exists()
        place, commit = (str(folder), None) if beside else GPT2
        tokenizer = GPT2Tokenizer.from_pretrained(place, revision=commit)
        return Processor(self.image_processor(files.read_json(FULL_SIZE)["encoder"]["image_size"]), tokenizer)


def _blocks(stride: int) -> int:
    """Blocks of a DenseNet that divides a picture's side by `stride`: 4 in the stem, 2 between two blocks."""
    blocks = stride.bit_length() - 2
    if blocks < 1 or stride != 2 ** (blocks + 1):
        raise UserError(f"miniature.patch_size: {stride} is not allowed; a DenseNet's are 4, 8, 16, 32")
    return blocks


FAMILY = CnnTransformer()
