"""BERTScore (Zhang et al. 2020) by the bert-score package: DeBERTa, idf over the references, no rescaling."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from math import log
from pathlib import Path
from typing import Any

from radcap.errors import UserError
from radcap.metrics.text import preprocess

PARTS = ("precision", "recall", "f1")
# The published tokenizer names no limit of its own.
MAX_TOKENS = 512


class BertScorer:
    """Scores with a DeBERTa in a local folder or hub snapshot, using its first `layer` layers."""

    def __init__(self, checkpoint: str | Path, *, layer: int, batch_size: int = 64) -> None:
        import torch
        from transformers import AutoModel, AutoTokenizer

        self.batch_size = batch_size
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        # The package would choose the model's class by its path: "t5" anywhere in it makes a T5.
        model, report = AutoModel.from_pretrained(str(checkpoint), output_loading_info=True)
        if missing := sorted(report["missing_keys"]):
            raise UserError(f"DeBERTa in {checkpoint}: {len(missing)} weights are missing, first {missing[0]}")
        self.model: Any = model.eval().to(self.device)
        self.model.encoder.layer = self.model.encoder.layer[:layer]
        self.tokenizer: Any = AutoTokenizer.from_pretrained(str(checkpoint))
        self.tokenizer.model_max_length = MAX_TOKENS

    def score(
        self, candidates: Sequence[str], references: Sequence[str], *, part: str, corpus: Sequence[str] | None = None
    ) -> list[float]:
        """One value per caption, after the official preprocessing; idf over `corpus`, by default all references.

        0 where a side is empty after preprocessing (the package crashes there) or where the value is 0 / 0.
        """
        from bert_score.utils import bert_cos_score_idf

        cands, refs, documents = (
            [preprocess(text).strip() for text in texts] for texts in (candidates, references, corpus or references)
        )
        filled = [i for i, (cand, ref) in enumerate(zip(cands, refs, strict=True)) if cand and ref]
        values = [0.0] * len(cands)
        if filled:
            found = bert_cos_score_idf(
                self.model,
                [refs[i] for i in filled],
                [cands[i] for i in filled],
                self.tokenizer,
                idf(documents, self.tokenizer),
                device=self.device,
                batch_size=self.batch_size,
            )
            for index, value in zip(filled, found[:, PARTS.index(part)].tolist(), strict=True):
                values[index] = value if value == value else 0.0
        return values


def idf(documents: Sequence[str], tokenizer: Any) -> defaultdict[int, float]:
    """{token id: log((N + 1) / (df + 1))} over N documents, those of an unseen token included (Zhang et al. 2020).

    The package's own function crashes on an empty document, which holds the first and the last token alone.
    """
    from bert_score.utils import sent_encode

    edges = [tokenizer.cls_token_id, tokenizer.sep_token_id]
    counts = Counter(id_ for text in documents for id_ in set(sent_encode(tokenizer, text) if text else edges))
    found: defaultdict[int, float] = defaultdict(lambda: log(len(documents) + 1))
    found.update({id_: log((len(documents) + 1) / (count + 1)) for id_, count in counts.items()})
    return found
