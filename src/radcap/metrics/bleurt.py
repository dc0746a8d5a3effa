"""BLEURT (Sellam et al. 2020; BLEURT-20 and its distilled D12, Pu et al. 2021): a regression over a pair of captions.

The published layout (lucadiliello/BLEURT-20*) is read as it is: a RemBERT under other names, and a sentencepiece model.
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
from radcap.metrics.packed import BATCH_TOKENS, PackedEncoder, batches
from radcap.metrics.text import encodable, preprocess

CONFIG, TOKENIZER, WEIGHTS = "config.json", "spm.model", ("model.safetensors", "pytorch_model.bin")
# All of config.json in which the published sizes differ, and what they share.
CONFIG_NAMES = (
    *("vocab_size", "embedding_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"),
    *("hidden_act", "max_position_embeddings", "type_vocab_size", "layer_norm_eps", "pad_token_id"),
)
# 0, 1, 2, ...: today's RemBERT makes them itself.
KNOWN_UNUSED = frozenset({"bleurt.embeddings.position_ids"})
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
Texts = Sequence[str]


class Pair(NamedTuple):
    """Token ids of [CLS] reference [SEP] candidate [SEP]; how many of them are of type 0 (the rest: of type 1)."""

    ids: tuple[int, ...]
    zeros: int


class PairTokenizer:
    """Makes pairs of at most `limit` tokens."""

    def __init__(self, path: Path, *, limit: int) -> None:
        with _refused(f"{path} is no sentencepiece model"):
            self.pieces = SentencePieceProcessor(model_file=str(path))
        ids = {name: int(self.pieces.piece_to_id(name)) for name in SPECIAL}
        self.special = {name: id_ for name, id_ in ids.items() if self.pieces.id_to_piece(id_) == name}
        if absent := [name for name in ("[CLS]", "[SEP]") if name not in self.special]:
            raise UserError(f"{path} has no piece {absent[0]}")
        self.split = re.compile("(" + "|".join(re.escape(name) for name in self.special) + ")").split
        self.room = limit - 3

    def ids(self, text: str) -> list[int]:
        """The text's token ids, not more than one beyond what fits.

        As in the reference, a special token's name inside the text becomes that token (preprocessed captions have no
        brackets). Half surrogate pairs, which are no text, become "?".
        """
        parts = self.split(encodable(text))
        found = ([self.special[part]] if part in self.special else self.pieces.encode(part) for part in parts)
        return [id_ for ids in found for id_ in ids][: self.room + 1]

    def pair(self, reference: Sequence[int], candidate: Sequence[int]) -> Pair:
        """The pair of two texts' ids, where tokens are popped from the end of the longer, of the candidate at a tie."""
        first = reference[: max(self.room - self.room // 2, self.room - len(candidate))]
        second = candidate[: self.room - len(first)]
        cls, sep = self.special["[CLS]"], self.special["[SEP]"]
        return Pair((cls, *first, sep, *second, sep), len(first) + 2)


class BleurtScorer:
    """Scores with a BLEURT-20 or BLEURT-20-D12 in a local folder: config.json, spm.model and the weights."""

    def __init__(self, checkpoint: Path, *, batch_tokens: int | None = None, dtype: str = "float32") -> None:
        """UserError: an absent file, or one that does not fit the others, named in one line."""
        self.checkpoint = Path(checkpoint)
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.batch_tokens = batch_tokens or BATCH_TOKENS[self.device]
        self.model: Any = _load_model(self.checkpoint / CONFIG, _find_weights(self.checkpoint))
        self.model.to(self.device, getattr(torch, dtype))
        self.encoder = PackedEncoder(self.model.rembert.encoder.layer)
        self.config: Any = self.model.config
        self.tokenizer = PairTokenizer(self.checkpoint / TOKENIZER, limit=self.config.max_position_embeddings)
        if (size := self.tokenizer.pieces.get_piece_size()) > self.config.vocab_size:
            raise UserError(f"{self.checkpoint}: {TOKENIZER} has {size} pieces, {CONFIG} only {self.config.vocab_size}")

    def score(self, candidates: Texts, references: Texts, *, raw: bool = False) -> list[float]:
        """One float per caption, unbounded, about 0 to 1 with the published weights; no activation, no clipping.

        On captions after the official preprocessing, or as they stand where `raw`. Empty ones, both sides included,
        get what the model says of them. Equal pairs are computed once, and never depend on the order; their batch may
        move a score by 2e-6. UserError where the weights give no finite number.
        """
        pairs = [self.tokenizer.pair(*ids) for ids in self._encode(candidates, references, raw=raw)]
        # By ids: the same batches whatever the order.
        unique = sorted(set(pairs))
        found: dict[Pair, float] = {}
        for batch in batches([len(pair.ids) for pair in unique], budget=self.batch_tokens):
            chosen = [unique[number] for number in batch]
            found.update(zip(chosen, self._forward(chosen), strict=True))
        return [found[pair] for pair in pairs]

    def truncated(self, candidates: Texts, references: Texts, *, raw: bool = False) -> int:
        """How many pairs are too long for the model, so that `score` cuts them."""
        room = self.tokenizer.room
        return sum(len(ref) + len(cand) > room for ref, cand in self._encode(candidates, references, raw=raw))

    def _encode(self, candidates: Texts, references: Texts, *, raw: bool) -> list[tuple[list[int], list[int]]]:
        ids = {text: self.tokenizer.ids(text if raw else preprocess(text)) for text in {*references, *candidates}}
        return [(ids[ref], ids[cand]) for ref, cand in zip(references, candidates, strict=True)]

    @torch.inference_mode()
    def _forward(self, batch: Sequence[Pair]) -> list[float]:
        rows = [torch.tensor(pair.ids) for pair in batch]
        ids = pad_sequence(rows, batch_first=True, padding_value=self.config.pad_token_id)
        types = (torch.arange(ids.shape[1]) >= torch.tensor([[pair.zeros] for pair in batch])).long()
        network = self.model.rembert
        embedded = network.embeddings(ids.to(self.device), token_type_ids=types.to(self.device))
        first = self.encoder.first_states(
            network.encoder.embedding_hidden_mapping_in(embedded), [len(pair.ids) for pair in batch]
        )
        # The pooler takes the first of several tokens.
        logits = self.model.classifier(network.pooler(first[:, None]))[:, 0].float().cpu()
        if not logits.isfinite().all():
            raise UserError(f"BLEURT in {self.checkpoint}: its weights give no finite score")
        return [float(value) for value in logits]


def published_name(name: str) -> str:
    """A weight's key in the published layout, from its name in transformers' RemBERT."""
    return name.replace("rembert.", "bleurt.", 1).replace("embedding_hidden_mapping_in", "embedding_projection")


def build_model(config: Mapping[str, Any]) -> Any:
    """RemBertForSequenceClassification with one output, of a published config.json. KeyError: it lacks a value."""
    from transformers import RemBertConfig, RemBertForSequenceClassification

    values = {name: config[name] for name in CONFIG_NAMES}
    values["input_embedding_size"] = values.pop("embedding_size")
    return RemBertForSequenceClassification(RemBertConfig(num_labels=1, bos_token_id=None, eos_token_id=None, **values))


def _find_weights(folder: Path) -> Path:
    """The weights' path, in a folder that lacks nothing."""
    found = [folder / name for name in WEIGHTS if (folder / name).is_file()]
    absent = [name for name in (CONFIG, TOKENIZER) if not (folder / name).is_file()]
    if lacking := absent + ([] if found else [" or ".join(WEIGHTS)]):
        raise UserError(f"BLEURT's folder {folder} lacks {', '.join(lacking)}")
    return found[0]


def _load_model(config_path: Path, weights_path: Path) -> Any:
    """The model in evaluation mode, in float32, on the CPU."""
    with _refused(f"{config_path} is no JSON"):
        config = files.read_json(config_path)
    if absent := [name for name in CONFIG_NAMES if not isinstance(config, dict) or config.get(name) is None]:
        raise UserError(f"{config_path} gives no {absent[0]}; is it of BLEURT-20 or BLEURT-20-D12?")
    with _refused(f"{config_path}: no BLEURT can be made of it"), torch.device("meta"):
        model = build_model(config)
    names = {published_name(name): name for name in model.state_dict()}
    weights = _read_weights(weights_path)
    _check_weights(weights, {key: model.state_dict()[name] for key, name in names.items()}, weights_path)
    model.load_state_dict({names[key]: value for key, value in weights.items()}, assign=True)
    model.rembert.embeddings.position_ids = torch.arange(config["max_position_embeddings"])[None]
    return model.float().eval()


def _read_weights(path: Path) -> dict[str, Any]:
    """{published name: tensor}, without the known unused ones."""
    with _refused(f"{path}: no weights can be read from it"):
        pickled = path.suffix == ".bin"
        weights = torch.load(path, map_location="cpu", weights_only=True) if pickled else load_file(path)
        return {key: value for key, value in weights.items() if key not in KNOWN_UNUSED}


def _check_weights(weights: Mapping[str, Any], wanted: Mapping[str, Any], path: Path) -> None:
    for kind, keys in (("missing", wanted.keys() - weights.keys()), ("unexpected", weights.keys() - wanted.keys())):
        if keys:
            raise UserError(f"{path}: {len(keys)} of the weights {kind}, first {min(keys)}")
    for key, value in weights.items():
        found, asked = (tuple(getattr(tensor, "shape", ())) for tensor in (value, wanted[key]))
        if found != asked:
            raise UserError(f"{path}: {key} has shape {found}; {CONFIG} asks for {asked}")


@contextlib.contextmanager
def _refused(message: str) -> Iterator[None]:
    """Whatever goes wrong inside is the file's fault: each format, and each way of being damaged, raises its own."""
    try:
        yield
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"{message} ({reason})") from None
