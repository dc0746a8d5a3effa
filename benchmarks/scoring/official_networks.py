"""The three networks that the official evaluators run caption by caption, on the same files as radcap's scorers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from sentencepiece import SentencePieceProcessor
from torch import Tensor, nn
from torch.nn import functional

from radcap import files
from scoring.checkpoints import LIGHTNING, WEIGHTS

MAX_TOKENS, TEXT_TOKENS = 512, 77


class Bleurt:
    """RemBERT with BLEURT's weight names, of which bleurt-pytorch has its own copy."""

    def __init__(self, checkpoint: Path) -> None:
        from radcap.metrics.bleurt import build_model

        self.pieces = SentencePieceProcessor(model_file=str(checkpoint / "spm.model"))
        self.model: Any = build_model(files.read_json(checkpoint / "config.json"))
        renaming = {"bleurt.": "rembert.", "embedding_projection": "embedding_hidden_mapping_in"}
        tensors = {}
        for name, tensor in load_file(checkpoint / "model.safetensors").items():
            for published, new in renaming.items():
                name = name.replace(published, new)
            tensors[name] = tensor
        self.model.load_state_dict(tensors)
        self.model.eval()

    @torch.no_grad()
    def score(self, candidate: str, reference: str) -> float:
        first, second = self.pieces.encode(reference), self.pieces.encode(candidate)
        while len(first) + len(second) > MAX_TOKENS - 3:
            (first if len(first) > len(second) else second).pop()
        cls, sep = self.pieces.piece_to_id("[CLS]"), self.pieces.piece_to_id("[SEP]")
        ids = torch.tensor([[cls, *first, sep, *second, sep]])
        types = torch.tensor([[0] * (len(first) + 2) + [1] * (len(second) + 1)])
        outputs = self.model(input_ids=ids, token_type_ids=types, attention_mask=torch.ones_like(ids))
        return float(outputs.logits[0, 0])


class Align(nn.Module):
    """RoBERTa with the pretraining head and AlignScore's three heads, all of which the reference runs."""

    def __init__(self, checkpoint: Path) -> None:
        from transformers import RobertaConfig, RobertaForMaskedLM, RobertaModel, RobertaTokenizer

        super().__init__()
        vocab, merges = str(checkpoint / "vocab.json"), str(checkpoint / "merges.txt")
        self.tokenizer: Any = RobertaTokenizer(vocab=vocab, merges=merges)
        config = RobertaConfig(**files.read_json(checkpoint / "config.json"))
        self.base_model = RobertaModel(config, add_pooling_layer=True)
        self.mlm_head = RobertaForMaskedLM(config).lm_head
        self.bin_layer = nn.Linear(config.hidden_size, 2)
        self.tri_layer = nn.Linear(config.hidden_size, 3)
        self.reg_layer = nn.Linear(config.hidden_size, 1)
        self.load_state_dict(torch.load(checkpoint / LIGHTNING, weights_only=True)["state_dict"])
        self.eval()

    @torch.no_grad()
    def aligned(self, contexts: list[str], claims: list[str]) -> Tensor:
        """The probability that each claim is aligned with each context: (contexts, claims)."""
        inputs = self.tokenizer(
            [context for context in contexts for _ in claims],
            claims * len(contexts),
            padding="max_length",
            truncation="only_first",
            max_length=MAX_TOKENS,
            return_tensors="pt",
        )
        outputs = self.base_model(**inputs)
        pooled = outputs.pooler_output
        self.mlm_head(outputs.last_hidden_state), self.bin_layer(pooled), self.reg_layer(pooled)
        return self.tri_layer(pooled).softmax(-1)[:, 0].reshape(len(contexts), len(claims))


class MedImageInsightText:
    """The text tower written out, one caption at a time, always padded to 77 tokens."""

    def __init__(self, checkpoint: Path) -> None:
        from radcap.metrics.similarity import SimilarityScorer

        # For its tokenizer, with the fallback for ftfy, and for the images.
        self.scorer = SimilarityScorer(checkpoint)
        self.weights = load_file(checkpoint / WEIGHTS)
        self.settings = self.scorer.model.settings["text_encoder"]
        self.images: dict[bytes, Tensor] = {}

    @torch.no_grad()
    def score(self, candidate: str, image: bytes) -> float:
        """The cosine, without the official 2.5 max(cosine, 0), which is 0 for most random weights."""
        if image not in self.images:
            self.images[image] = self.embed_image(image)
        return float(self.embed_text(candidate).double() @ self.images[image].double())

    def embed_image(self, image: bytes) -> Tensor:
        from radcap.metrics.medimageinsight.image_tower import decode_image

        return self.scorer.model.embed_image(decode_image(image))

    def embed_text(self, text: str) -> Tensor:
        tokens = self.scorer.tokenizer.encode(text)
        end = tokens[-1]
        ids = torch.tensor([*tokens, *[end] * (TEXT_TOKENS - len(tokens))])
        padding = torch.arange(TEXT_TOKENS) >= len(tokens)
        tower = "lang_encoder."
        states = self.weights[f"{tower}token_embedding.weight"][ids] + self.weights[f"{tower}positional_embedding"]
        states = states[None]
        for layer in range(self.settings["layers"]):
            states = self._block(states, f"{tower}resblocks.{layer}.", padding[None])
        pooled = self._norm(states[0], f"{tower}ln_final")[ids.argmax()]
        return functional.normalize(pooled @ self.weights["lang_projection"], dim=-1)

    def _block(self, states: Tensor, name: str, padding: Tensor) -> Tensor:
        states = states + self._attention(self._norm(states, f"{name}ln_1"), f"{name}attn.", padding)
        inner = self._linear(self._norm(states, f"{name}ln_2"), f"{name}mlp.c_fc.")
        return states + self._linear(inner * torch.sigmoid(1.702 * inner), f"{name}mlp.c_proj.")

    def _attention(self, states: Tensor, name: str, padding: Tensor) -> Tensor:
        """The computation of nn.MultiheadAttention, on (tokens, batch, width)."""
        rows = states.transpose(0, 1)
        attended, _ = functional.multi_head_attention_forward(
            *(rows, rows, rows, self.settings["width"], self.settings["heads"]),
            *(self.weights[f"{name}in_proj_weight"], self.weights[f"{name}in_proj_bias"]),
            *(None, None, False, 0.0),
            *(self.weights[f"{name}out_proj.weight"], self.weights[f"{name}out_proj.bias"]),
            training=False,
            key_padding_mask=padding,
            need_weights=False,
        )
        return attended.transpose(0, 1)

    def _norm(self, states: Tensor, name: str) -> Tensor:
        weight, bias = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        return functional.layer_norm(states, weight.shape, weight, bias, self.settings["layer_norm_eps"])

    def _linear(self, states: Tensor, name: str) -> Tensor:
        return functional.linear(states, self.weights[f"{name}weight"], self.weights[f"{name}bias"])
