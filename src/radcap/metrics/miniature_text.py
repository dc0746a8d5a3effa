"""The sample's BLEURT and AlignScore: small models of the published classes, trained on pairs of known truth.

From one number a pair, a model this small learns in seconds to say the mean. So each token also learns whether it
stands in the other text, and the first one the facts of both: signals in the spirit of those that BLEURT was pretrained
with (Sellam et al. 2020). Their heads are not kept.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, mse_loss
from torch.nn.utils.rnn import pad_sequence

from radcap import files, seeds
from radcap.data.phantoms.atlas import STUDIES
from radcap.metrics import alignscore_checkpoint as alignscore
from radcap.metrics import bleurt
from radcap.metrics.alignscore import split_sentences
from radcap.metrics.pairs import LABELS, Pair, make_pairs
from radcap.metrics.text import preprocess
from radcap.models.initial import draw_weights
from radcap.models.tokenizers import byte_level_bpe

WIDTH, LAYERS, HEADS = 64, 2, 4
SIZES: dict[str, Any] = {
    "hidden_size": WIDTH,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "intermediate_size": 2 * WIDTH,
    "hidden_act": "gelu",
}
BLEURT: dict[str, Any] = {
    "model_type": "bleurt",
    "embedding_size": WIDTH,
    "type_vocab_size": 2,
    "layer_norm_eps": 1e-12,
    "max_position_embeddings": 512,
    "pad_token_id": 0,
    "num_labels": 1,
}
ROBERTA: dict[str, Any] = {
    "model_type": "roberta",
    "type_vocab_size": 1,
    "layer_norm_eps": 1e-5,
    "max_position_embeddings": 514,
    "bos_token_id": 0,
    "pad_token_id": 1,
    "eos_token_id": 2,
}
BLEURT_PIECES, ROBERTA_TOKENS = 400, 1000
ROBERTA_SPECIAL = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
# Both vocabularies begin with five special tokens.
FIRST_WORD = 5
PAIRS, BATCH, RATE, WARMUP = 12_000, 32, 0.005, 0.1
# So many batches at a time are made of pairs of similar length.
SORTED = 32
# Positions and types start far below words, and queries equal to keys: a token first attends to its equals.
POSITION_STD, TYPE_STD, QUERY_SCALE = 0.03, 0.1, 1.4
FACTS: dict[str, list[str | None]] = {
    "modality": list(dict.fromkeys(study.modality for study in STUDIES)),
    "anatomy": list(dict.fromkeys(study.anatomy for study in STUDIES)),
    "finding": list(dict.fromkeys(finding.name for study in STUDIES for finding in study.findings)),
    "side": [None, "left", "right", "bilateral"],
}
# cross_entropy passes over it.
NO_FACT = -100


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


class Signals(nn.Module):
    """What the last hidden states learn beside the score."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.Linear(WIDTH, 1)
        self.facts = nn.Linear(WIDTH, 2 * sum(map(len, FACTS.values())))
        self.wrong = nn.Linear(WIDTH, len(FACTS) + 1)

    def forward(self, hidden: Tensor, batch: Batch) -> Tensor:
        """The sum of the losses; hidden: pairs x tokens x WIDTH."""
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


Reader = Callable[[Batch], tuple[Tensor, Tensor]]


def train_bleurt(folder: Path, *, steps: int, seed: int) -> None:
    """Write a small BLEURT for `BleurtScorer`; it learns each pair's target, by squared error, preprocessed.

    The same steps and seed give the same bytes on the same kind of processor.
    """
    with _alone(seed, "bleurt") as rng, files.whole_folder(folder) as out:
        pairs = make_pairs(rng, PAIRS)
        texts = {text: preprocess(text) for pair in pairs for text in (pair.reference, pair.candidate)}
        (out / bleurt.TOKENIZER).write_bytes(_sentencepiece(sorted(set(texts.values()))))
        tokenizer = bleurt.PairTokenizer(out / bleurt.TOKENIZER, limit=512)
        ids = {text: tokenizer.ids(plain) for text, plain in texts.items()}
        joined = [(tokenizer.pair(ids[pair.reference], ids[pair.candidate]), pair) for pair in pairs]
        config = {"vocab_size": tokenizer.pieces.get_piece_size(), **SIZES, **BLEURT}
        model = bleurt.build_model(config)
        _start(model)

        def read(batch: Batch) -> tuple[Tensor, Tensor]:
            inputs = {"token_type_ids": batch.second, "attention_mask": batch.mask.long()}
            found = model(input_ids=batch.ids, output_hidden_states=True, **inputs)
            return found.hidden_states[-1], mse_loss(found.logits[:, 0], batch.target)

        _fit(model, read, [Example(j.ids, j.zeros, pair) for j, pair in joined], rng, steps=steps, pad=0)
        weights = {bleurt.published_name(name): tensor for name, tensor in model.state_dict().items()}
        save_file(weights, out / bleurt.WEIGHTS[0], {"format": "pt"})
        files.write_json(out / bleurt.CONFIG, config)


def train_alignscore(folder: Path, *, steps: int, seed: int) -> None:
    """Write a small AlignScore for `AlignScorer`, as `alignscore_checkpoint.convert` does.

    It reads raw sentences of a candidate beside the whole reference. The three-way head learns P(aligned) = target,
    with the rest on the label (neutral for an aligned one); the other heads learn whether it is aligned, and the
    target. The same steps and seed give the same bytes on the same kind of processor.
    """
    from transformers import RobertaConfig, RobertaModel

    with _alone(seed, "alignscore") as rng, files.whole_folder(folder) as out:
        pairs = make_pairs(rng, PAIRS)
        claims = [(pair, sentence) for pair in pairs for sentence in split_sentences(pair.candidate)]
        texts = sorted({text for pair, sentence in claims for text in (pair.reference, sentence)})
        tokenizer = _roberta_tokenizer(texts, out)
        ids = dict(zip(texts, tokenizer(texts, add_special_tokens=False)["input_ids"], strict=True))
        config = {"vocab_size": len(tokenizer), **SIZES, **ROBERTA}
        model = RobertaModel(RobertaConfig(**config))
        _start(model)
        heads = nn.ModuleDict({name: nn.Linear(WIDTH, outputs) for name, outputs in alignscore.HEADS.items()})

        def read(batch: Batch) -> tuple[Tensor, Tensor]:
            found = model(batch.ids, attention_mask=batch.mask.long())
            return found.last_hidden_state, _head_losses(heads, found.pooler_output, batch)

        examples = [_sentence_pair(ids[pair.reference], ids[sentence], pair) for pair, sentence in claims]
        _fit(nn.ModuleList([model, heads]), read, examples, rng, steps=steps, pad=1)
        weights = {alignscore.ENCODER + name: tensor for name, tensor in model.state_dict().items()}
        save_file(weights | heads.state_dict(), out / alignscore.WEIGHTS, {"format": "pt"})
        files.write_json(out / alignscore.CONFIG, config)


def _fit(model: nn.Module, read: Reader, examples: Sequence[Example], rng: Any, *, steps: int, pad: int) -> None:
    """Train in place; `read` gives the last hidden states and the score's own loss."""
    signals = Signals()
    weights = [*model.parameters(), *signals.parameters()]
    optimizer = torch.optim.AdamW(weights, lr=RATE, weight_decay=0.01, fused=True)
    warm = max(WARMUP * steps, 1)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warm, (steps - step) / max(steps - warm, 1))
    )
    batches = _batches(examples, rng)
    for _ in range(steps):
        batch = _collate(next(batches), pad=pad)
        hidden, loss = read(batch)
        optimizer.zero_grad()
        (loss + signals(hidden, batch)).backward()
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        schedule.step()


def _batches(examples: Sequence[Example], rng: Any) -> Iterator[list[Example]]:
    """Endless batches of pairs of similar length, in random order."""
    while True:
        order = rng.permutation(len(examples))
        for start in range(0, len(order), SORTED * BATCH):
            group = sorted(order[start : start + SORTED * BATCH], key=lambda number: len(examples[number].ids))
            parts = [group[at : at + BATCH] for at in range(0, len(group), BATCH)]
            for number in rng.permutation(len(parts)):
                yield [examples[index] for index in parts[number]]


def _collate(examples: Sequence[Example], *, pad: int) -> Batch:
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
        torch.tensor([_facts(pair.case) + _facts(pair.shown) for pair in pairs]),
        torch.tensor([_wrong(pair) for pair in pairs]),
    )


def _facts(case: Any) -> list[int]:
    return [NO_FACT if case is None else values.index(getattr(case, name)) for name, values in FACTS.items()]


def _wrong(pair: Pair) -> list[float]:
    noise = pair.shown is None
    differs = zip(_facts(pair.case), _facts(pair.shown), strict=True)
    return [float(noise or first != second) for first, second in differs] + [float(noise)]


def _head_losses(heads: nn.ModuleDict, pooled: Tensor, batch: Batch) -> Tensor:
    aligned = batch.label == LABELS.index("aligned")
    truth = torch.zeros(len(pooled), len(LABELS))
    rest = torch.where(aligned, LABELS.index("neutral"), batch.label)
    truth.scatter_(1, rest[:, None], (1 - batch.target)[:, None])
    truth[:, LABELS.index("aligned")] += batch.target
    losses = (
        cross_entropy(heads["tri_layer"](pooled), truth),
        cross_entropy(heads["bin_layer"](pooled), aligned.long()),
        mse_loss(heads["reg_layer"](pooled)[:, 0].sigmoid(), batch.target),
    )
    return torch.stack(losses).sum()


def _sentence_pair(context: Sequence[int], sentence: Sequence[int], pair: Pair) -> Example:
    """`<s> context </s></s> sentence </s>`."""
    begin, end = ROBERTA["bos_token_id"], ROBERTA["eos_token_id"]
    return Example([begin, *context, end, end, *sentence, end], len(context) + 3, pair)


def _sentencepiece(texts: Sequence[str]) -> bytes:
    """A unigram model whose file names no path; one thread, because more add up their counts in any order."""
    from sentencepiece import SentencePieceTrainer

    model = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_writer=model,
        vocab_size=BLEURT_PIECES,
        hard_vocab_limit=False,
        num_threads=1,
        pad_id=0,
        unk_id=1,
        bos_id=-1,
        eos_id=-1,
        pad_piece=bleurt.SPECIAL[0],
        unk_piece=bleurt.SPECIAL[1],
        user_defined_symbols=list(bleurt.SPECIAL[2:]),
        minloglevel=2,
    )
    return model.getvalue()


def _roberta_tokenizer(texts: Sequence[str], folder: Path) -> Any:
    """A byte-level BPE, and its two files in the folder."""
    from transformers import RobertaTokenizer

    def write(*, vocab: dict[str, int], merges: list[tuple[str, str]], **_: Any) -> Any:
        (folder / alignscore.VOCAB).write_text(json.dumps(vocab, ensure_ascii=False), encoding="utf-8")
        lines = ["#version: 0.2", *map(" ".join, merges)]
        (folder / alignscore.MERGES).write_text("\n".join(lines) + "\n", encoding="utf-8")
        return RobertaTokenizer(vocab=vocab, merges=merges)

    return byte_level_bpe(texts, size=ROBERTA_TOKENS, special=ROBERTA_SPECIAL, kind=write)


def _start(model: Any) -> None:
    """Weights to start from, and no dropout."""
    draw_weights(model)
    for name, module in model.named_modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        elif name.endswith(("position_embeddings", "token_type_embeddings")):
            nn.init.normal_(module.weight, std=POSITION_STD if "position" in name else TYPE_STD)
        elif name.endswith("attention.self"):
            with torch.no_grad():
                module.key.weight.copy_(module.query.weight.mul_(QUERY_SCALE))


@contextlib.contextmanager
def _alone(seed: int, name: str) -> Iterator[Any]:
    """One thread, as many as its last digits depend on, and seeds of its own; yields a generator for the pairs."""
    threads = torch.get_num_threads()
    try:
        yield np.random.default_rng(seeds.fix(seed, "pairs", name, threads=1))
    finally:
        torch.set_num_threads(threads)
