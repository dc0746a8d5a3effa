"""BERTScore (Zhang et al. 2020) by the bert-score package: DeBERTa, idf over the references, no rescaling."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from radcap.metrics.text import preprocess

PARTS = ("precision", "recall", "f1")
# The published tokenizer names no limit, and one position more than the model has crashes it.
MAX_TOKENS = 512


class BertScorer:
    """Scores with a DeBERTa in a local folder (or hub id), using its first `layer` layers."""

    def __init__(self, checkpoint: str | Path, *, layer: int, batch_size: int = 64) -> None:
        import torch
        from bert_score import BERTScorer

        self.batch_size = batch_size
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self.scorer: Any = BERTScorer(
            model_type=str(checkpoint), num_layers=layer, idf=True, nthreads=0, device=device, batch_size=batch_size
        )
        self.scorer._tokenizer.model_max_length = MAX_TOKENS

    def score(self, candidates: Sequence[str], references: Sequence[str], *, part: str) -> list[float]:
        """One value per caption, after the official preprocessing; idf over all references given.

        0 where a side is empty after preprocessing (the package crashes there) or where the value is 0 / 0.
        """
        cands, refs = ([preprocess(text).strip() for text in texts] for texts in (candidates, references))
        self.scorer.compute_idf([ref for ref in refs if ref] or [""])
        filled = [i for i, (cand, ref) in enumerate(zip(cands, refs, strict=True)) if cand and ref]
        values = [0.0] * len(cands)
        if filled:
            triple = self.scorer.score(
                [cands[i] for i in filled], [refs[i] for i in filled], batch_size=self.batch_size
            )
            for index, value in zip(filled, triple[PARTS.index(part)].tolist(), strict=True):
                values[index] = value if value == value else 0.0
        return values
