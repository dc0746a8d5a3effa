"""What the miniatures of BLEURT and AlignScore share: sizes, initial weights, and training on caption pairs.

With one number per pair as its only target, such a small model just learns the mean. So each token also learns whether
it occurs in the other text, and the first token the facts of both: signals in the spirit of those that BLEURT was
pretrained with (Sellam et al. 2020). The heads for these auxiliary losses are not saved.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy
from torch.nn.utils.rnn import pad_sequence

from radcap.metrics.miniatures.facts import FACTS, fact_labels
from radcap.metrics.miniatures.pairs import LABELS, Pair, make_pairs
from radcap.metrics.miniatures.training import BATCH_SIZE, endless_batches, train
from radcap.models.initialization import initialize_weights

WIDTH, LAYERS, HEADS = 64, 2, 4
SIZES: dict[str, Any] = {
    "hidden_size": WIDTH,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "intermediate_size": 2 * WIDTH,
    "hidden_act": "gelu",
}
MAX_PAIRS, LEARNING_RATE = 12_000, 0.005
# Embeddings of positions and types start far smaller than those of words, and queries equal to keys, so that a token
# first attends to equal tokens.
POSITION_STD, TYPE_STD, QUERY_SCALE = 0.03, 0.1, 1.4
# Both vocabularies begin with five special tokens.
FIRST_WORD_ID = 5


class Example(NamedTuple):
    """Token ids of reference and candidate, joined as the scorer does; the index of the candidate's first; the pair."""

    ids: Sequence[int]
    candidate_start: int
    pair: Pair


class Batch(NamedTuple):
    """A batch of pairs, padded on the right.

    (pairs, tokens): `ids`, `mask`, `token_types` (1 from the candidate on). (pairs,): `target`, `label`. (pairs, 8):
    `facts` of reference and candidate. (pairs, 5): `wrong`, which facts are wrong, and whether the candidate is noise.
    """

    ids: Tensor
    mask: Tensor
    token_types: Tensor
    target: Tensor
    label: Tensor
    facts: Tensor
    wrong: Tensor


# A batch -> the last hidden states (pairs, tokens, width), and the loss of the score itself.
ForwardPass = Callable[[Batch], tuple[Tensor, Tensor]]


def draw_pairs(rng: np.random.Generator, *, steps: int) -> list[Pair]:
    """The training pairs: MAX_PAIRS of them, or as many as so many steps can see."""
    return make_pairs(rng, min(MAX_PAIRS, steps * BATCH_SIZE))


def initialize(model: nn.Module) -> None:
    """Draw the initial weights, and turn off dropout."""
    initialize_weights(model)
    for name, module in model.named_modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        elif isinstance(module, nn.Embedding) and name.endswith(("position_embeddings", "token_type_embeddings")):
            nn.init.normal_(module.weight, std=POSITION_STD if "position" in name else TYPE_STD)
        elif name.endswith("attention.self"):
            attention: Any = module
            with torch.no_grad():
                attention.key.weight.copy_(attention.query.weight.mul_(QUERY_SCALE))


def fit(
    model: nn.Module,
    forward: ForwardPass,
    examples: Sequence[Example],
    rng: np.random.Generator,
    *,
    steps: int,
    pad: int,
    label: str,
) -> None:
    """Train the model in place."""
    heads = AuxiliaryHeads(WIDTH)
    batches = endless_batches([len(example.ids) for example in examples], rng)

    def next_loss() -> Tensor:
        batch = collate([examples[index] for index in next(batches)], pad=pad)
        hidden, score_loss = forward(batch)
        auxiliary_loss: Tensor = heads(hidden, batch)
        return score_loss + auxiliary_loss

    train([*model.parameters(), *heads.parameters()], next_loss, steps=steps, learning_rate=LEARNING_RATE, label=label)


def collate(examples: Sequence[Example], *, pad: int) -> Batch:
    """Make a batch, padded to its longest example."""
    rows = [torch.tensor(example.ids) for example in examples]
    ids = pad_sequence(rows, batch_first=True, padding_value=pad)
    positions = torch.arange(ids.shape[1])
    mask = positions < torch.tensor([[len(row)] for row in rows])
    is_candidate = mask & (positions >= torch.tensor([[example.candidate_start] for example in examples]))
    pairs = [example.pair for example in examples]
    return Batch(
        ids,
        mask,
        is_candidate.long(),
        torch.tensor([pair.target for pair in pairs]),
        torch.tensor([LABELS.index(pair.label) for pair in pairs]),
        torch.tensor([fact_labels(pair.reference_case) + fact_labels(pair.candidate_case) for pair in pairs]),
        torch.tensor([_wrong_facts(pair) for pair in pairs]),
    )


class AuxiliaryHeads(nn.Module):
    """Heads for the auxiliary losses, on hidden states of the given width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.shared = nn.Linear(width, 1)
        self.facts = nn.Linear(width, 2 * sum(map(len, FACTS.values())))
        self.wrong = nn.Linear(width, len(FACTS) + 1)

    def forward(self, hidden: Tensor, batch: Batch) -> Tensor:
        """The sum of the losses. `hidden`: (pairs, tokens, width)."""
        words = batch.ids >= FIRST_WORD_ID
        equal = batch.ids[:, :, None] == batch.ids[:, None, :]
        shared = (equal & (batch.token_types[:, :, None] != batch.token_types[:, None, :])).any(-1)
        loss = binary_cross_entropy_with_logits(self.shared(hidden)[..., 0][words], shared[words].float())
        logits = self.facts(hidden[:, 0]).split([len(values) for values in FACTS.values()] * 2, dim=1)
        loss = loss + sum(map(cross_entropy, logits, batch.facts.T)) / len(logits)
        wrong = batch.wrong[:, None].expand(-1, batch.ids.shape[1], -1)
        for states, truth in ((hidden[:, 0], batch.wrong), (hidden[batch.mask], wrong[batch.mask])):
            loss = loss + binary_cross_entropy_with_logits(self.wrong(states), truth)
        return loss


def _wrong_facts(pair: Pair) -> list[float]:
    is_noise = pair.candidate_case is None
    facts = zip(fact_labels(pair.reference_case), fact_labels(pair.candidate_case), strict=True)
    return [float(is_noise or reference != candidate) for reference, candidate in facts] + [float(is_noise)]
