"""BLEURT (Sellam et al. 2020; BLEURT-20 and its distilled D12, Pu et al. 2021): a regression over a pair of captions.

It reads the published layout (lucadiliello/BLEURT-20*) as it is: a RemBERT with other weight names, and a sentencepiece
model.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file
from sentencepiece import SentencePieceProcessor
from torch.nn.utils.rnn import pad_sequence

from radcap import files
from radcap.errors import UserError
from radcap.metrics.batching import BATCH_TOKENS, PackedEncoder, token_batches
from radcap.metrics.preprocessing import preprocess, replace_surrogates

CONFIG, TOKENIZER, WEIGHTS = "config.json", "spm.model", ("model.safetensors", "pytorch_model.bin")
# The keys of config.json that define the network.
CONFIG_KEYS = (
    *("vocab_size", "embedding_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"),
    *("hidden_act", "max_position_embeddings", "type_vocab_size", "layer_norm_eps", "pad_token_id"),
)
# The numbers 0, 1, 2, ...: today's RemBERT creates them itself.
UNUSED_WEIGHTS = frozenset({"bleurt.embeddings.position_ids"})
SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
Texts = Sequence[str]


class Pair(NamedTuple):
    """The token ids of [CLS] reference [SEP] candidate [SEP].

    The first `reference_length` of them, up to the first [SEP], have token type 0, the others type 1.
    """

    ids: tuple[int, ...]
    reference_length: int


class PairTokenizer:
    """Tokenizes captions, and joins two of them to a pair of at most `max_tokens` tokens."""

    def __init__(self, path: Path, *, max_tokens: int) -> None:
        with _as_user_error(f"{path} is not a sentencepiece model"):
            self.pieces = SentencePieceProcessor(model_file=str(path))
        ids = {name: int(self.pieces.piece_to_id(name)) for name in SPECIAL_TOKENS}
        self.special = {name: id_ for name, id_ in ids.items() if self.pieces.id_to_piece(id_) == name}
        if missing := [name for name in ("[CLS]", "[SEP]") if name not in self.special]:
            raise UserError(f"{path} has no piece {missing[0]}")
        self.split = re.compile("(" + "|".join(re.escape(name) for name in self.special) + ")").split
        # Tokens that both texts have together, without [CLS] and the two [SEP].
        self.text_tokens = max_tokens - 3

    def encode(self, text: str) -> list[int]:
        """The token ids of a text, at most one more than fits.

        As in the reference implementation, the name of a special token within the text becomes that token (preprocessed
        captions have no brackets). Lone surrogates become "?".
        """
        parts = self.split(replace_surrogates(text))
        ids_of_parts = ([self.special[part]] if part in self.special else self.pieces.encode(part) for part in parts)
        return [id_ for ids in ids_of_parts for id_ in ids][: self.text_tokens + 1]

    def pair(self, reference: Sequence[int], candidate: Sequence[int]) -> Pair:
        """The pair of two texts. The longer one loses tokens at its end; if both are as long, the candidate does."""
        first = reference[: max(self.text_tokens - self.text_tokens // 2, self.text_tokens - len(candidate))]
        second = candidate[: self.text_tokens - len(first)]
        cls, sep = self.special["[CLS]"], self.special["[SEP]"]
        return Pair((cls, *first, sep, *second, sep), len(first) + 2)


class BleurtScorer:
    """Scores with a BLEURT-20 or BLEURT-20-D12 in a local folder: config.json, spm.model and the weights."""

    def __init__(self, checkpoint: Path, *, batch_tokens: int | None = None, dtype: str = "float32") -> None:
        """UserError, in one line: a file is missing, or does not fit the others."""
        self.checkpoint = Path(checkpoint)
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.batch_tokens = batch_tokens or BATCH_TOKENS[self.device]
        self.model: Any = _load_model(self.checkpoint / CONFIG, _find_weights(self.checkpoint))
        self.model.to(self.device, getattr(torch, dtype))
        self.encoder = PackedEncoder(self.model.rembert.encoder.layer)
        self.config: Any = self.model.config
        self.tokenizer = PairTokenizer(self.checkpoint / TOKENIZER, max_tokens=self.config.max_position_embeddings)
        if (size := self.tokenizer.pieces.get_piece_size()) > self.config.vocab_size:
            raise UserError(f"{self.checkpoint}: {TOKENIZER} has {size} pieces, {CONFIG} only {self.config.vocab_size}")

    def score(self, candidates: Texts, references: Texts, *, raw: bool = False) -> list[float]:
        """One float per caption: the plain regression, without activation or clipping.

        It is unbounded; with the published weights it is about 0 to 1. Captions are preprocessed as the official
        evaluators do, unless `raw`. Empty captions get the model's score, also if both sides are empty. Equal pairs are
        computed once, and the order of captions does not matter; batches may change a score by 2e-6. UserError: the
        weights give a non-finite score.
        """
        pairs = [self.tokenizer.pair(*ids) for ids in self._encode(candidates, references, raw=raw)]
        # Sorted, so that the batches do not depend on the order of the captions.
        unique = sorted(set(pairs))
        scores: dict[Pair, float] = {}
        for numbers in token_batches([len(pair.ids) for pair in unique], max_tokens=self.batch_tokens):
            batch = [unique[number] for number in numbers]
            scores.update(zip(batch, self._forward(batch), strict=True))
        return [scores[pair] for pair in pairs]

    def count_truncated(self, candidates: Texts, references: Texts, *, raw: bool = False) -> int:
        """The number of pairs that `score` truncates because they are too long for the model."""
        limit = self.tokenizer.text_tokens
        return sum(len(ref) + len(cand) > limit for ref, cand in self._encode(candidates, references, raw=raw))

    def _encode(self, candidates: Texts, references: Texts, *, raw: bool) -> list[tuple[list[int], list[int]]]:
        ids = {text: self.tokenizer.encode(text if raw else preprocess(text)) for text in {*references, *candidates}}
        return [(ids[ref], ids[cand]) for ref, cand in zip(references, candidates, strict=True)]

    @torch.inference_mode()
    def _forward(self, batch: Sequence[Pair]) -> list[float]:
        rows = [torch.tensor(pair.ids) for pair in batch]
        ids = pad_sequence(rows, batch_first=True, padding_value=self.config.pad_token_id)
        types = (torch.arange(ids.shape[1]) >= torch.tensor([[pair.reference_length] for pair in batch])).long()
        network = self.model.rembert
        embedded = network.embeddings(ids.to(self.device), token_type_ids=types.to(self.device))
        first = self.encoder.first_states(
            network.encoder.embedding_hidden_mapping_in(embedded), [len(pair.ids) for pair in batch]
        )
        # The pooler expects a dimension of tokens, of which it takes the first.
        logits = self.model.classifier(network.pooler(first[:, None]))[:, 0].float().cpu()
        if not logits.isfinite().all():
            raise UserError(f"BLEURT in {self.checkpoint}: its weights give a non-finite score")
        return [float(value) for value in logits]


def published_name(name: str) -> str:
    """The name of a weight in the published layout, given its name in transformers' RemBERT."""
    return name.replace("rembert.", "bleurt.", 1).replace("embedding_hidden_mapping_in", "embedding_projection")


def build_model(config: Mapping[str, Any]) -> Any:
    """A RemBertForSequenceClassification with one output, from a published config.json. KeyError: it lacks a value."""
    from transformers import RemBertConfig, RemBertForSequenceClassification

    values = {name: config[name] for name in CONFIG_KEYS}
    values["input_embedding_size"] = values.pop("embedding_size")
    return RemBertForSequenceClassification(RemBertConfig(num_labels=1, bos_token_id=None, eos_token_id=None, **values))


def _find_weights(folder: Path) -> Path:
    """The path of the weights. UserError: the folder lacks a file."""
    weights = [folder / name for name in WEIGHTS if (folder / name).is_file()]
    missing = [name for name in (CONFIG, TOKENIZER) if not (folder / name).is_file()]
    if missing := missing + ([] if weights else [" or ".join(WEIGHTS)]):
        raise UserError(f"BLEURT's folder {folder} lacks {', '.join(missing)}")
    return weights[0]


def _load_model(config_path: Path, weights_path: Path) -> Any:
    """The model in evaluation mode, in float32, on the CPU."""
    with _as_user_error(f"{config_path} is not JSON"):
        config = files.read_json(config_path)
    if missing := [name for name in CONFIG_KEYS if not isinstance(config, dict) or config.get(name) is None]:
        raise UserError(f"{config_path} does not give {missing[0]}; is it BLEURT-20's or BLEURT-20-D12's?")
    with _as_user_error(f"{config_path} does not describe a BLEURT"), torch.device("meta"):
        model = build_model(config)
    names = {published_name(name): name for name in model.state_dict()}
    weights = _read_weights(weights_path)
    _check_weights(weights, {key: model.state_dict()[name] for key, name in names.items()}, weights_path)
    model.load_state_dict({names[key]: value for key, value in weights.items()}, assign=True)
    model.rembert.embeddings.position_ids = torch.arange(config["max_position_embeddings"])[None]
    return model.float().eval()


def _read_weights(path: Path) -> dict[str, Any]:
    """{published name: tensor}, without the unused ones."""
    with _as_user_error(f"{path} cannot be read as weights"):
        pickled = path.suffix == ".bin"
        weights = torch.load(path, map_location="cpu", weights_only=True) if pickled else load_file(path)
        return {key: value for key, value in weights.items() if key not in UNUSED_WEIGHTS}


def _check_weights(weights: Mapping[str, Any], expected: Mapping[str, Any], path: Path) -> None:
    for kind, keys in (("missing", expected.keys() - weights.keys()), ("unexpected", weights.keys() - expected.keys())):
        if keys:
            raise UserError(f"{path}: {len(keys)} weights are {kind}, first {min(keys)}")
    for key, value in weights.items():
        shape, expected_shape = (tuple(getattr(tensor, "shape", ())) for tensor in (value, expected[key]))
        if shape != expected_shape:
            raise UserError(f"{path}: {key} has shape {shape}; {CONFIG} requires {expected_shape}")


@contextlib.contextmanager
def _as_user_error(message: str) -> Iterator[None]:
    """Turn any error into a UserError: it is the file's fault, and every format raises errors of its own."""
    try:
        yield
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"{message} ({reason})") from None
