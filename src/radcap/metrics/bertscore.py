"""BERTScore (Zhang et al. 2020): greedy matching of DeBERTa's token vectors, idf over the references, no rescaling.

Tokens are the bert-score package's. Its matching is written anew: it pads with zeros, under which a token without any
similar one scores more beside a longer caption than alone.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from math import log
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from radcap.errors import UserError
from radcap.metrics.kept import Kept
from radcap.metrics.packed import batches
from radcap.metrics.text import preprocess
from radcap.metrics.token_vectors import TokenVectors

PARTS = ("precision", "recall", "f1")
# The published tokenizer names no limit of its own.
MAX_TOKENS = 512
# Tokens of a batch: twice as fast as batches of 64 captions on a CPU, whose cache they fit.
BATCH_TOKENS = {"cpu": 512, "cuda": 16384}
# Pairs that are matched at once.
PAIRS = 64
Ids = Sequence[int]


class BertScorer:
    """Scores with a DeBERTa in a local folder or hub snapshot, using its first `layer` layers.

    `cache`: a folder of this checkpoint alone that keeps the references' vectors for other processes.
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
        # The package would choose the model's class by its path: "t5" anywhere in it makes a T5.
        model, report = AutoModel.from_pretrained(str(checkpoint), output_loading_info=True)
        if missing := sorted(report["missing_keys"]):
            raise UserError(f"DeBERTa in {checkpoint}: {len(missing)} weights are missing, first {missing[0]}")
        self.model: Any = model.eval().to(self.device, getattr(torch, dtype))
        self.model.encoder.layer = self.model.encoder.layer[:layer]
        self.tokenizer: Any = AutoTokenizer.from_pretrained(str(checkpoint))
        self.tokenizer.model_max_length = MAX_TOKENS
        self._kept = Kept(cache)

    def score(
        self, candidates: Sequence[str], references: Sequence[str], *, corpus: Sequence[str] | None = None
    ) -> dict[str, list[float]]:
        """{"precision", "recall", "f1": one value per caption}, after the official preprocessing.

        idf over `corpus`, by default all references. 0 where a side is empty after preprocessing (the package crashes
        there) or where the value is 0 / 0. Equal texts are embedded once; padding may move a value by 1e-6.
        """
        cands, refs, documents = (
            [preprocess(text).strip() for text in texts] for texts in (candidates, references, corpus or references)
        )
        pairs = [both for both in dict.fromkeys(zip(cands, refs, strict=True)) if all(both)]
        found = dict.fromkeys(zip(cands, refs, strict=True), (0.0, 0.0, 0.0))
        if pairs:
            ids = encode({*cands, *refs, *documents}, self.tokenizer)
            weights = idf([ids[text] for text in documents])
            kept = TokenVectors(self._kept.get([ref for _, ref in pairs], self._write))
            by_candidate: dict[str, list[str]] = defaultdict(list)
            for cand, ref in pairs:
                by_candidate[cand].append(ref)
            for texts, vectors in self._embed(list(by_candidate), ids):
                rows = [(c, v, r) for c, v in zip(texts, vectors, strict=True) for r in by_candidate[c]]
                for start in range(0, len(rows), PAIRS):
                    batch = rows[start : start + PAIRS]
                    values = match(
                        [vector for _, vector, _ in batch],
                        [_weigh(ids[cand], weights) for cand, _, _ in batch],
                        [kept.read(ref) for _, _, ref in batch],
                        [_weigh(ids[ref], weights) for _, _, ref in batch],
                    )
                    found.update(zip([(cand, ref) for cand, _, ref in batch], values, strict=True))
        values = [found[both] for both in zip(cands, refs, strict=True)]
        return {part: [value[number] for value in values] for number, part in enumerate(PARTS)}

    def truncated(self, candidates: Sequence[str], references: Sequence[str]) -> int:
        """How many captions have a side that is too long for the model, so that `score` cuts it."""
        long = {
            text: len(self.tokenizer.tokenize(preprocess(text))) > MAX_TOKENS - 2 for text in {*candidates, *references}
        }
        return sum(long[cand] or long[ref] for cand, ref in zip(candidates, references, strict=True))

    def _write(self, texts: list[str], folder: Path) -> None:
        TokenVectors.write(folder, self._embed(texts, encode(texts, self.tokenizer)))

    @torch.inference_mode()
    def _embed(self, texts: Sequence[str], ids: Mapping[str, Ids]) -> Iterator[tuple[list[str], list[Tensor]]]:
        """(texts, tokens x width of each on the CPU), in batches of similar length, longest first."""
        # By text: the same batches whatever the order.
        ordered = sorted(texts)
        for numbers in batches([len(ids[text]) for text in ordered], budget=self.batch_tokens):
            batch = [ordered[number] for number in numbers]
            rows = [torch.tensor(ids[text]) for text in batch]
            padded = pad_sequence(rows, batch_first=True, padding_value=self.tokenizer.pad_token_id)
            mask = torch.arange(padded.shape[1]) < torch.tensor([[len(row)] for row in rows])
            hidden = self.model(padded.to(self.device), attention_mask=mask.long().to(self.device))[0].float().cpu()
            yield batch, [hidden[number, : len(row)].clone() for number, row in enumerate(rows)]


def match(
    candidates: Sequence[Tensor],
    weights: Sequence[Tensor],
    references: Sequence[Tensor],
    of_references: Sequence[Tensor],
) -> list[tuple[float, float, float]]:
    """(precision, recall, F1) of each pair: weighted means of every token's highest cosine on the other side.

    Vectors: tokens x width; weights: tokens. Zhang et al. 2020, section 3, with importance weighting.
    """
    sides = [pad_sequence(list(side), batch_first=True) for side in (candidates, references)]
    first, second = (torch.nn.functional.normalize(side, dim=-1) for side in sides)
    shares = [pad_sequence([w / w.sum() for w in side], batch_first=True) for side in (weights, of_references)]
    here, there = (
        pad_sequence([torch.ones(len(w), dtype=torch.bool) for w in side], batch_first=True)
        for side in (weights, of_references)
    )
    cosines = first @ second.transpose(1, 2)
    best = cosines.masked_fill(~there[:, None, :], -torch.inf).amax(2).masked_fill(~here, 0.0)
    best_of_references = cosines.masked_fill(~here[:, :, None], -torch.inf).amax(1).masked_fill(~there, 0.0)
    precision, recall = (best * shares[0]).sum(1), (best_of_references * shares[1]).sum(1)
    found = torch.stack([precision, recall, 2 * precision * recall / (precision + recall)], dim=1)
    return [(p, r, f) for p, r, f in found.nan_to_num(0.0).tolist()]


def encode(texts: Sequence[str] | set[str], tokenizer: Any) -> dict[str, list[int]]:
    """{preprocessed text: token ids as the package makes them}; an empty text is its first and last token alone."""
    from bert_score.utils import sent_encode

    edges = [tokenizer.cls_token_id, tokenizer.sep_token_id]
    return {text: sent_encode(tokenizer, text) if text else edges for text in texts}


def idf(documents: Sequence[Ids]) -> defaultdict[int, float]:
    """{token id: log((N + 1) / (df + 1))} over N documents, those of an unseen token included (Zhang et al. 2020)."""
    counts = Counter(id_ for ids in documents for id_ in set(ids))
    found: defaultdict[int, float] = defaultdict(lambda: log(len(documents) + 1))
    found.update({id_: log((len(documents) + 1) / (count + 1)) for id_, count in counts.items()})
    return found


def _weigh(ids: Ids, weights: Mapping[int, float]) -> Tensor:
    return torch.tensor([weights[id_] for id_ in ids])
