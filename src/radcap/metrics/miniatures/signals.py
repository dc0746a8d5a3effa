"""What the sample's BLEURT and AlignScore learn beside the score, by heads that are not kept.

From one number a pair, a model this small learns in seconds to say the mean. So each token also learns whether it
stands in the other text, and the first one the facts of both: signals in the spirit of those that BLEURT was pretrained
with (Sellam et al. 2020).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy
from torch.nn.utils.rnn import pad_sequence

from radcap.metrics.miniatures.facts import FACTS, numbers
from radcap.metrics.miniatures.pairs import LABELS, Pair

# Both vocabularies begin with five special tokens.
FIRST_WORD = 5


class Example(NamedTuple):
    """Token ids of reference and candidate as the scorer joins them, where the candidate's begin, and the truth."""

    ids: Sequence[int]
    start: int
    pair: Pair


class Batch(NamedTuple):
    """Pairs x tokens: ids, mask, and second (1 from the candidate on). Pairs: target, label. Pairs x 8: the facts of
    reference and candidate. Pairs x 5: which facts are wrong, and whether the candidate is noise."""

    ids: Tensor
    mask: Tensor
    second: Tensor
    target: Tensor
    label: Tensor
    facts: Tensor
    wrong: Tensor


def collate(examples: Sequence[Example], *, pad: int) -> Batch:
    """Examples padded on the right to the longest."""
    rows = [torch.tensor(example.ids) for example in examples]
    ids = pad_sequence(rows, batch_first=True, padding_value=pad)
    places = torch.arange(ids.shape[1])
    mask = places < torch.tensor([[len(row)] for row in rows])
    second = mask & (places >= torch.tensor([[example.start] for example in examples]))
    pairs = [example.pair for example in examples]
    return Batch(
        ids,
        mask,
        second.long(),
        torch.tensor([pair.target for pair in pairs]),
        torch.tensor([LABELS.index(pair.label) for pair in pairs]),
        torch.tensor([numbers(pair.case) + numbers(pair.shown) for pair in pairs]),
        torch.tensor([_wrong(pair) for pair in pairs]),
    )


class Signals(nn.Module):
    """The heads on last hidden states of that width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.shared = nn.Linear(width, 1)
        self.facts = nn.Linear(width, 2 * sum(map(len, FACTS.values())))
        self.wrong = nn.Linear(width, len(FACTS) + 1)

    def forward(self, hidden: Tensor, batch: Batch) -> Tensor:
        """The sum of the losses; hidden: pairs x tokens x width."""
        words = batch.ids >= FIRST_WORD
        equal = batch.ids[:, :, None] == batch.ids[:, None, :]
        shared = (equal & (batch.second[:, :, None] != batch.second[:, None, :])).any(-1)
        loss = binary_cross_entropy_with_logits(self.shared(hidden)[..., 0][words], shared[words].float())
        parts = self.facts(hidden[:, 0]).split([len(values) for values in FACTS.values()] * 2, dim=1)
        loss = loss + sum(map(cross_entropy, parts, batch.facts.T)) / len(parts)
        wrong = batch.wrong[:, None].expand(-1, batch.ids.shape[1], -1)
        for states, truth in ((hidden[:, 0], batch.wrong), (hidden[batch.mask], wrong[batch.mask])):
            loss = loss + binary_cross_entropy_with_logits(self.wrong(states), truth)
        return loss


def _wrong(pair: Pair) -> list[float]:
    noise = pair.shown is None
    differs = zip(numbers(pair.case), numbers(pair.shown), strict=True)
    return [float(noise or first != second) for first, second in differs] + [float(noise)]
