"""AlignScore (Zha et al. 2023), mode nli_sp: how well the context's best chunk supports each sentence of the claim."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import linear
from torch.nn.utils.rnn import pad_sequence

from radcap.errors import UserError
from radcap.metrics.alignscore_checkpoint import MAX_TOKENS, load
from radcap.metrics.batching import BATCH_TOKENS, PackedEncoder, token_batches
from radcap.metrics.paths import PUNKT_FILES, find_punkt
from radcap.metrics.preprocessing import replace_surrogates

Splitter = Callable[[str], list[str]]
# (chunks of the context, sentences of the claim)
Caption = tuple[Sequence[str], Sequence[str]]

CHUNK_WORDS = 350
# Tokens of chunk and sentence together, in `<s> chunk </s></s> sentence </s>`.
TEXT_TOKENS = MAX_TOKENS - 4
# The reference implementation truncates this many pairs of a caption by the same strategy.
TRUNCATION_GROUP = 32
# A sentence ends with one of .!? before white space. A closing quote or bracket in between belongs to it.
_BOUNDARY = re.compile(r"(?<=[.!?])\s+|(?<=[.!?][\"'”’)\]])\s+")


class Pair(NamedTuple):
    """One input of the model. If it is too long, the chunk is truncated, or with `longest_first` the longer text."""

    chunk: str
    sentence: str
    longest_first: bool = False


def split_sentences(text: str) -> list[str]:
    """Split without Punkt's data: each . ! or ? before white space ends a sentence, also in "Fig. 3" or "...".

    A closing quote or bracket after it stays with its sentence. As Punkt does, white space between sentences and at the
    end is dropped, and kept at the beginning. White space alone has no sentence.
    """
    return _BOUNDARY.split(text.rstrip()) if text.strip() else []


def punkt_splitter(folder: Path) -> Splitter:
    """The sentence splitter Punkt (Kiss and Strunk 2006) with the English data of NLTK's `punkt_tab`.

    `folder`: punkt_tab/english, or a folder above it (punkt_tab, tokenizers, nltk_data). UserError: files are missing
    or damaged.
    """
    from nltk.tokenize.punkt import PunktParameters, PunktSentenceTokenizer  # type: ignore[import-untyped]

    english = find_punkt(folder)
    if missing := [name for name in PUNKT_FILES if not (english / name).is_file()]:
        raise UserError(f"AlignScore: no punkt_tab in {english}: {', '.join(missing)} missing")
    parameters = PunktParameters()
    try:
        abbreviations, collocations, starters, context = (
            (english / name).read_text(encoding="utf-8").removesuffix("\n").split("\n") for name in PUNKT_FILES
        )
        parameters.abbrev_types = set(abbreviations)
        parameters.collocations = {tuple(line.split("\t")) for line in collocations}
        parameters.sent_starters = set(starters)
        parameters.ortho_context.update((word, int(flags)) for word, flags in (line.split("\t") for line in context))
    except ValueError as error:
        raise UserError(f"AlignScore: punkt_tab in {english} is damaged ({error})") from None
    return PunktSentenceTokenizer(parameters).tokenize  # type: ignore[no-any-return]


def make_chunks(context: str, sentences: Sequence[str]) -> list[str]:
    """Group the sentences of a context into about n = words // 350 + 1 chunks of max(sentences // n, 1) sentences.

    A context without sentences is one empty chunk.
    """
    sentences = sentences or [""]
    step = max(len(sentences) // (len(context.split()) // CHUNK_WORDS + 1), 1)
    return [" ".join(sentences[start : start + step]) for start in range(0, len(sentences), step)]


def make_pairs(chunks: Sequence[str], sentences: Sequence[str], tokens: Mapping[str, Sequence[int]]) -> list[Pair]:
    """Every chunk with every sentence; the chunk is the outer loop. `tokens`: {text: token ids}.

    If a pair is too long, its chunk is truncated. If a sentence alone fills the input, the reference implementation
    truncates the longer text instead, in all of the up to 32 pairs that it reads together.
    """
    pairs = [Pair(chunk, sentence) for chunk in chunks for sentence in sentences]
    for start in range(0, len(pairs), TRUNCATION_GROUP):
        group = slice(start, start + TRUNCATION_GROUP)
        too_long = [len(tokens[p.chunk]) + len(tokens[p.sentence]) > TEXT_TOKENS for p in pairs[group]]
        if any(long and len(tokens[p.sentence]) >= TEXT_TOKENS for p, long in zip(pairs[group], too_long, strict=True)):
            pairs[group] = [p._replace(longest_first=long) for p, long in zip(pairs[group], too_long, strict=True)]
    return pairs


def truncated_lengths(chunk: int, sentence: int, *, longest_first: bool) -> tuple[int, int]:
    """The numbers of tokens of chunk and sentence after truncation."""
    if chunk + sentence <= TEXT_TOKENS:
        return chunk, sentence
    if not longest_first:
        return TEXT_TOKENS - sentence, sentence
    shorter = min(chunk, sentence, TEXT_TOKENS // 2)
    return (shorter, TEXT_TOKENS - shorter) if chunk <= sentence else (TEXT_TOKENS - shorter, shorter)


class AlignScorer:
    """Scores with a checkpoint folder as `convert` writes it.

    The attribute `splitter` says how captions are split into sentences, and belongs to the identity of the scores:
    "punkt_tab" with the data in `punkt`, as the reference implementation does, or else "fallback" (`split_sentences`).
    """

    def __init__(
        self, checkpoint: Path, *, batch_tokens: int | None = None, dtype: str = "float32", punkt: Path | None = None
    ) -> None:
        self.splitter = "fallback" if punkt is None else "punkt_tab"
        self._split = split_sentences if punkt is None else punkt_splitter(punkt)
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        stored = load(checkpoint)
        self.tokenizer: Any = stored.tokenizer
        self.batch_tokens = batch_tokens or BATCH_TOKENS[self.device]
        self.model: Any = stored.encoder.to(self.device, getattr(torch, dtype))
        self.encoder = PackedEncoder(self.model.encoder.layer)
        self.heads = {head: tuple(part.to(self.device) for part in parts) for head, parts in stored.heads.items()}

    def score(self, candidates: Sequence[str], references: Sequence[str]) -> list[float]:
        """One value in [0, 1] per caption. The candidate is the claim, the reference the context; both are raw.

        An empty or blank candidate scores 0.0, where the reference implementation crashes; an empty reference is
        scored. As there, text that spells a special token ("<mask>") is read as that token. Lone surrogates become "?".
        Batches change a value by rounding only (below 1e-6).
        """
        texts = [
            (replace_surrogates(ref), replace_surrogates(cand))
            for cand, ref in zip(candidates, references, strict=True)
        ]
        sentences = {text: self._split(text) for text in dict.fromkeys(text for pair in texts for text in pair)}
        captions = {
            (ref, cand): (make_chunks(ref, sentences[ref]), sentences[cand]) for ref, cand in dict.fromkeys(texts)
        }
        values = dict(zip(captions, self.score_sentences(list(captions.values())), strict=True))
        return [values[pair] for pair in texts]

    def count_truncated(self, candidates: Sequence[str], references: Sequence[str]) -> int:
        """The number of captions with a sentence and a chunk that are too long together, so that one is truncated."""
        sentences = {text: self._split(text) for text in map(replace_surrogates, {*candidates, *references})}
        captions = [
            (make_chunks(ref, sentences[ref]), sentences[cand])
            for cand, ref in zip(map(replace_surrogates, candidates), map(replace_surrogates, references), strict=True)
        ]
        tokens = self._tokens(_texts_of(captions))
        longest = [[max((len(tokens[text]) for text in texts), default=0) for texts in sides] for sides in captions]
        return sum(sum(lengths) > TEXT_TOKENS for lengths in longest)

    def score_sentences(self, captions: Sequence[Caption]) -> list[float]:
        """One value per caption, given as (chunks of its context, sentences of its claim).

        The mean over sentences of the maximum over chunks of P(aligned) by the three-way head (Zha et al. 2023); 0.0 if
        there are no sentences.
        """
        aligned = [logits.softmax(-1)[..., 0] for logits in self.head_outputs(captions, head="tri_layer")]
        return [float(of_pairs.amax(0).mean()) if of_pairs.numel() else 0.0 for of_pairs in aligned]

    def head_outputs(self, captions: Sequence[Caption], *, head: str) -> list[Tensor]:
        """The logits of a head (bin_layer, tri_layer, reg_layer) for each caption: (chunks, sentences, outputs)."""
        tokens = self._tokens(_texts_of(captions))
        rows = [make_pairs(*caption, tokens) for caption in captions]
        unique = list(dict.fromkeys(pair for row in rows for pair in row))
        position = {pair: number for number, pair in enumerate(unique)}
        outputs = self._run(unique, tokens, head)
        numbers = [torch.tensor([position[pair] for pair in row], dtype=torch.long) for row in rows]
        shapes = [(len(chunks), len(sentences), outputs.shape[1]) for chunks, sentences in captions]
        return [outputs[of_caption].reshape(shape) for of_caption, shape in zip(numbers, shapes, strict=True)]

    def _tokens(self, texts: Iterable[str]) -> dict[str, list[int]]:
        # One token more than fits shows that a text is too long. More would only take memory.
        unique = list(texts)
        limit = {"truncation": True, "max_length": TEXT_TOKENS + 1}
        ids = self.tokenizer(unique, add_special_tokens=False, **limit)["input_ids"] if unique else []
        return dict(zip(unique, ids, strict=True))

    @torch.inference_mode()
    def _run(self, unique: Sequence[Pair], tokens: Mapping[str, Sequence[int]], head: str) -> Tensor:
        """The logits of the head: (pairs, outputs), on the CPU."""
        weight, bias = self.heads[head]
        outputs = torch.empty(len(unique), len(bias))
        lengths = [min(len(tokens[pair.chunk]) + len(tokens[pair.sentence]), TEXT_TOKENS) for pair in unique]
        for batch in token_batches(lengths, max_tokens=self.batch_tokens):
            rows = [torch.tensor(self.pair_ids(unique[number], tokens)) for number in batch]
            ids = pad_sequence(rows, batch_first=True, padding_value=self.tokenizer.pad_token_id)
            first = self.encoder.first_states(self.model.embeddings(ids.to(self.device)), [len(row) for row in rows])
            # The pooler expects a dimension of tokens, of which it takes the first.
            outputs[batch] = linear(self.model.pooler(first[:, None]).float(), weight, bias).cpu()
        return outputs

    def pair_ids(self, pair: Pair, tokens: Mapping[str, Sequence[int]]) -> list[int]:
        """`<s> chunk </s></s> sentence </s>`, at most 512 ids."""
        chunk, sentence = tokens[pair.chunk], tokens[pair.sentence]
        first, second = truncated_lengths(len(chunk), len(sentence), longest_first=pair.longest_first)
        begin, end = self.tokenizer.cls_token_id, self.tokenizer.sep_token_id
        return [begin, *chunk[:first], end, end, *sentence[:second], end]


def _texts_of(captions: Sequence[Caption]) -> dict[str, None]:
    """All chunks and sentences, each once, in their order."""
    return dict.fromkeys(text for caption in captions for texts in caption for text in texts)
