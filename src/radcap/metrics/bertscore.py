"""BERTScore (Zhang et al. 2020): greedy matching of DeBERTa's token vectors, idf over the references, no rescaling.

Tokenization is the bert-score package's. The matching is our own because the package pads with zeros: a token that
resembles no other one then scores more beside a longer caption than alone.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import log
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from radcap import files
from radcap.errors import UserError
from radcap.metrics.batching import token_batches
from radcap.metrics.preprocessing import preprocess
from radcap.metrics.reference_cache import ReferenceCache

PARTS = ("precision", "recall", "f1")
# The published tokenizer does not specify a limit.
MAX_TOKENS = 512
# Tokens per batch. On a CPU this fits the cache, and is twice as fast as batches of 64 captions.
BATCH_TOKENS = {"cpu": 512, "cuda": 16384}
# Caption pairs that are matched at once.
PAIRS_PER_BATCH = 64
VECTORS, INDEX = "vectors.f32", "index.json"
Ids = Sequence[int]


class BertScorer:
    """Scores with a DeBERTa in a local folder or hub snapshot, using its first `layer` layers.

    `cache`: a folder for this checkpoint alone, in which the references' vectors are shared with other processes.
    """

    def __init__(
        self,
        checkpoint: str | Path,
        *,
        layer: int,
        batch_tokens: int | None = None,
        dtype: str = "float32",
        cache: Path | None = None,
    ) -> None:
        from transformers import AutoModel, AutoTokenizer

        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.batch_tokens = batch_tokens or BATCH_TOKENS[self.device]
        # The bert-score package would choose the class by the path: "t5" anywhere in it makes a T5.
        model, report = AutoModel.from_pretrained(str(checkpoint), output_loading_info=True)
        if missing := sorted(report["missing_keys"]):
            raise UserError(f"DeBERTa in {checkpoint}: {len(missing)} weights are missing, first {missing[0]}")
        self.model: Any = model.eval().to(self.device, getattr(torch, dtype))
        self.model.encoder.layer = self.model.encoder.layer[:layer]
        self.tokenizer: Any = AutoTokenizer.from_pretrained(str(checkpoint))
        self.tokenizer.model_max_length = MAX_TOKENS
        self._cache = ReferenceCache(cache)

    def score(
        self, candidates: Sequence[str], references: Sequence[str], *, corpus: Sequence[str] | None = None
    ) -> dict[str, list[float]]:
        """{"precision", "recall", "f1": one value per caption}, after the official preprocessing.

        The idf is over `corpus`, by default all references. A pair scores 0 if either side is empty after
        preprocessing, where the package crashes, or if the value would be 0 / 0. Equal texts are embedded once; padding
        may change a value by 1e-6.
        """
        cands, refs, documents = (
            [preprocess(text).strip() for text in texts] for texts in (candidates, references, corpus or references)
        )
        pairs = [pair for pair in dict.fromkeys(zip(cands, refs, strict=True)) if all(pair)]
        scores = dict.fromkeys(zip(cands, refs, strict=True), (0.0, 0.0, 0.0))
        if pairs:
            ids = encode({*cands, *refs, *documents}, self.tokenizer)
            weights = idf([ids[text] for text in documents])
            reference_vectors = TokenVectors(self._cache.get([ref for _, ref in pairs], self._write_vectors))
            by_candidate: dict[str, list[str]] = defaultdict(list)
            for cand, ref in pairs:
                by_candidate[cand].append(ref)
            for texts, vectors in self._embed(list(by_candidate), ids):
                rows = [(c, v, r) for c, v in zip(texts, vectors, strict=True) for r in by_candidate[c]]
                for start in range(0, len(rows), PAIRS_PER_BATCH):
                    batch = rows[start : start + PAIRS_PER_BATCH]
                    values = match(
                        [vector for _, vector, _ in batch],
                        [_token_weights(ids[cand], weights) for cand, _, _ in batch],
                        [reference_vectors.read(ref) for _, _, ref in batch],
                        [_token_weights(ids[ref], weights) for _, _, ref in batch],
                    )
                    scores.update(zip([(cand, ref) for cand, _, ref in batch], values, strict=True))
        rows_of_parts = [scores[pair] for pair in zip(cands, refs, strict=True)]
        return {part: [row[number] for row in rows_of_parts] for number, part in enumerate(PARTS)}

    def count_truncated(self, candidates: Sequence[str], references: Sequence[str]) -> int:
        """The number of pairs of which `score` truncates a side, because it is too long for the model."""
        is_long = {
            text: len(self.tokenizer.tokenize(preprocess(text))) > MAX_TOKENS - 2 for text in {*candidates, *references}
        }
        return sum(is_long[cand] or is_long[ref] for cand, ref in zip(candidates, references, strict=True))

    def _write_vectors(self, texts: list[str], folder: Path) -> None:
        TokenVectors.write(folder, self._embed(texts, encode(texts, self.tokenizer)))

    @torch.inference_mode()
    def _embed(self, texts: Sequence[str], ids: Mapping[str, Ids]) -> Iterator[tuple[list[str], list[Tensor]]]:
        """Yield (texts, their vectors) in batches of similar length, longest first. Vectors: (tokens, width), CPU."""
        # Sorted, so that the batches do not depend on the order of the texts.
        ordered = sorted(texts)
        for numbers in token_batches([len(ids[text]) for text in ordered], max_tokens=self.batch_tokens):
            batch = [ordered[number] for number in numbers]
            rows = [torch.tensor(ids[text]) for text in batch]
            padded = pad_sequence(rows, batch_first=True, padding_value=self.tokenizer.pad_token_id)
            mask = torch.arange(padded.shape[1]) < torch.tensor([[len(row)] for row in rows])
            hidden = self.model(padded.to(self.device), attention_mask=mask.long().to(self.device))[0].float().cpu()
            yield batch, [hidden[number, : len(row)].clone() for number, row in enumerate(rows)]


class TokenVectors:
    """Token vectors of texts, read from a file one text at a time, so that memory does not grow with their number."""

    def __init__(self, folder: Path) -> None:
        index = files.read_json(folder / INDEX)
        self.width, self.rows = int(index["width"]), index["rows"]
        self.path = folder / VECTORS

    def read(self, text: str) -> Tensor:
        """The vectors of a text: (tokens, width), float32. KeyError: the text was not written."""
        start, count = self.rows[text]
        vectors = np.fromfile(self.path, np.float32, count * self.width, offset=start * self.width * 4)
        return torch.from_numpy(vectors.reshape(count, self.width))

    @staticmethod
    def write(folder: Path, batches: Iterable[tuple[list[str], list[Tensor]]]) -> None:
        """Write batches of (texts, their vectors)."""
        rows: dict[str, tuple[int, int]] = {}
        start = width = 0
        with (folder / VECTORS).open("wb") as stream:
            for texts, vectors in batches:
                for text, vector in zip(texts, vectors, strict=True):
                    stream.write(vector.numpy().tobytes())
                    rows[text] = (start, len(vector))
                    start, width = start + len(vector), vector.shape[1]
        files.write_json(folder / INDEX, {"width": width, "rows": rows})


def match(
    candidates: Sequence[Tensor],
    candidate_weights: Sequence[Tensor],
    references: Sequence[Tensor],
    reference_weights: Sequence[Tensor],
) -> list[tuple[float, float, float]]:
    """(precision, recall, F1) of each pair: weighted means of each token's highest cosine on the other side.

    Vectors: (tokens, width); weights: (tokens,). Zhang et al. 2020, section 3, with importance weighting.
    """
    sides = [pad_sequence(list(side), batch_first=True) for side in (candidates, references)]
    first, second = (torch.nn.functional.normalize(side, dim=-1) for side in sides)
    shares = [
        pad_sequence([w / w.sum() for w in side], batch_first=True) for side in (candidate_weights, reference_weights)
    ]
    candidate_mask, reference_mask = (
        pad_sequence([torch.ones(len(w), dtype=torch.bool) for w in side], batch_first=True)
        for side in (candidate_weights, reference_weights)
    )
    cosines = first @ second.transpose(1, 2)
    best = cosines.masked_fill(~reference_mask[:, None, :], -torch.inf).amax(2).masked_fill(~candidate_mask, 0.0)
    best_of_references = (
        cosines.masked_fill(~candidate_mask[:, :, None], -torch.inf).amax(1).masked_fill(~reference_mask, 0.0)
    )
    precision, recall = (best * shares[0]).sum(1), (best_of_references * shares[1]).sum(1)
    scores = torch.stack([precision, recall, 2 * precision * recall / (precision + recall)], dim=1)
    return [(p, r, f) for p, r, f in scores.nan_to_num(0.0).tolist()]


def encode(texts: Sequence[str] | set[str], tokenizer: Any) -> dict[str, list[int]]:
    """{preprocessed text: token ids as the package makes them}. An empty text is its first and last token alone."""
    from bert_score.utils import sent_encode

    empty = [tokenizer.cls_token_id, tokenizer.sep_token_id]
    return {text: sent_encode(tokenizer, text) if text else empty for text in texts}


def idf(documents: Sequence[Ids]) -> defaultdict[int, float]:
    """{token id: log((N + 1) / (df + 1))} over N documents, also for unseen tokens (Zhang et al. 2020)."""
    counts = Counter(id_ for ids in documents for id_ in set(ids))
    weights: defaultdict[int, float] = defaultdict(lambda: log(len(documents) + 1))
    weights.update({id_: log((len(documents) + 1) / (count + 1)) for id_, count in counts.items()})
    return weights


def _token_weights(ids: Ids, weights: Mapping[int, float]) -> Tensor:
    return torch.tensor([weights[id_] for id_ in ids])
