"""VisionGPT2: ViT-B/16 encoder, GPT-2 decoder with cross-attention, fully fine-tuned. It takes no prompt."""

from transformers import GPT2Config, GPT2Tokenizer, PreTrainedConfig, ViTConfig

from radcap.models.encoder_decoder import EncoderDecoder
from radcap.settings import Miniature


class VisionGPT2(EncoderDecoder):
    components = {
        r"encoder\.": "vision",
        r"enc_to_dec_proj": "connector",
        r"decoder\.transformer\.h\.\d+\.(crossattention|ln_cross_attn)": "connector",
        r"decoder\.transformer\.(wte|wpe)": "embeddings",
        r"decoder\.transformer\.": "language",
        r"decoder\.lm_head": "head",
    }

    def halves(self, size: Miniature, tokenizer: GPT2Tokenizer) -> tuple[PreTrainedConfig, PreTrainedConfig]:
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
        return encoder, decoder


FAMILY = VisionGPT2()
