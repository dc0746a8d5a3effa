"""AlignScore (Zha et al. 2023), nli_sp: how far each sentence of a claim follows from the best passage of a context."""

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
from radcap.metrics.packed import BATCH_TOKENS, PackedEncoder, batches
from radcap.metrics.text import encodable

Splitter = Callable[[str], list[str]]

CHUNK_WORDS = 350
# `<s> chunk </s></s> sentence </s>`
ROOM = MAX_TOKENS - 4
# The reference truncates this many pairs of a caption alike.
ALIKE = 32
# A sentence ends with one of .!? before white space, and takes a closing quote or bracket along.
_BOUNDARY = re.compile(r"(?<=[.!?])\s+|(?<=[.!?][\"'”’)\]])\s+")
PUNKT_FILES = ("abbrev_types.txt", "collocations.tab", "sent_starters.txt", "ortho_context.tab")


class Pair(NamedTuple):
    """What the model reads at once; over the limit the chunk gives way, or where `halved` whichever is longer."""

    chunk: str
    sentence: str
    halved: bool = False


def split_sentences(text: str) -> list[str]:
    """Sentences without Punkt's data: each . ! or ? before white space ends one, also that of "Fig. 3" or "...".

    A closing quote or bracket between the two stays with its sentence. White space between sentences and at the end
    is dropped, at the beginning kept, as Punkt does; white space alone has no sentence.
    """
    return _BOUNDARY.split(text.rstrip()) if text.strip() else []


def punkt_splitter(folder: Path) -> Splitter:
    """Punkt (Kiss and Strunk 2006) with the English data of NLTK's `punkt_tab`.

    `folder`: punkt_tab/english, or a folder above it (punkt_tab, tokenizers, nltk_data). UserError: files are missing
    or damaged.
    """
    from nltk.tokenize.punkt import PunktParameters, PunktSentenceTokenizer  # type: ignore[import-untyped]

    inner = ("", "english", "punkt_tab/english", "tokenizers/punkt_tab/english")
    english = next((folder / name for name in inner if (folder / name / PUNKT_FILES[0]).is_file()), folder)
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


def chunks(context: str, sentences: Sequence[str]) -> list[str]:
    """Group a context's sentences: n = words // 350 + 1 chunks are wanted, so max(sentences // n, 1) go into each.

    A context without a sentence is one empty chunk.
    """
    sentences = sentences or [""]
    step = max(len(sentences) // (len(context.split()) // CHUNK_WORDS + 1), 1)
    return [" ".join(sentences[start : start + step]) for start in range(0, len(sentences), step)]


def pairs(passages: Sequence[str], sentences: Sequence[str], tokens: Mapping[str, Sequence[int]]) -> list[Pair]:
    """Every chunk with every sentence, chunks outermost.

    Of pairs over the limit the chunk is cut. Where a sentence leaves no room for any of it, the reference cuts the
    longer text instead, in all of the up to 32 pairs that it reads together.
    """
    found = [Pair(passage, sentence) for passage in passages for sentence in sentences]
    for start in range(0, len(found), ALIKE):
        group = slice(start, start + ALIKE)
        over = [len(tokens[p.chunk]) + len(tokens[p.sentence]) > ROOM for p in found[group]]
        if any(cut and len(tokens[p.sentence]) >= ROOM for p, cut in zip(found[group], over, strict=True)):
            found[group] = [p._replace(halved=cut) for p, cut in zip(found[group], over, strict=True)]
    return found


def kept(chunk: int, sentence: int, *, halved: bool) -> tuple[int, int]:
    """How many of a pair's tokens the limit leaves."""
    if chunk + sentence <= ROOM:
        return chunk, sentence
    if not halved:
        return ROOM - sentence, sentence
    shorter = min(chunk, sentence, ROOM // 2)
    return (shorter, ROOM - shorter) if chunk <= sentence else (ROOM - shorter, shorter)


class AlignScorer:
    """Scores with a checkpoint's folder as `convert` writes it.

    `splitter` names how captions are split into sentences and belongs to a score's identity: "punkt_tab" with the
    data in `punkt` (the reference's way), otherwise "fallback" (`split_sentences`).
    """

    def __init__(
        self, checkpoint: Path, *, batch_tokens: int | None = None, dtype: str = "float32", punkt: Path | None = None
    ) -> None:
        self.splitter = "fallback" if punkt is None else "punkt_tab"
        self._split = split_sentences if punkt is None else punkt_splitter(punkt)
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        loaded = load(checkpoint)
        self.tokenizer: Any = loaded.tokenizer
        self.batch_tokens = batch_tokens or BATCH_TOKENS[self.device]
        self.model: Any = loaded.encoder.to(self.device, getattr(torch, dtype))
        self.encoder = PackedEncoder(self.model.encoder.layer)
        self.heads = {head: tuple(part.to(self.device) for part in parts) for head, parts in loaded.heads.items()}

    def score(self, candidates: Sequence[str], references: Sequence[str]) -> list[float]:
        """One value in [0, 1] per caption: its candidate as claim, its reference as context, both raw.

        0.0 where the candidate is empty or white space, on which the reference implementation crashes; an empty
        reference is scored. Text that spells a special token ("<mask>") is read as that token, as there. Lone
        surrogates count as "?". Batches move a value by float rounding alone (below 1e-6).
        """
        texts = [(encodable(ref), encodable(cand)) for cand, ref in zip(candidates, references, strict=True)]
        sentences = {text: self._split(text) for text in dict.fromkeys(text for both in texts for text in both)}
        captions = {(ref, cand): (chunks(ref, sentences[ref]), sentences[cand]) for ref, cand in dict.fromkeys(texts)}
        values = dict(zip(captions, self.score_sentences(list(captions.values())), strict=True))
        return [values[both] for both in texts]

    def truncated(self, candidates: Sequence[str], references: Sequence[str]) -> int:
        """How many captions have a sentence and a chunk that are too long together, so that `score` cuts one."""
        sentences = {text: self._split(text) for text in map(encodable, {*candidates, *references})}
        sides = [
            (chunks(ref, sentences[ref]), sentences[cand])
            for cand, ref in zip(map(encodable, candidates), map(encodable, references), strict=True)
        ]
        tokens = self._tokens(dict.fromkeys(text for both in sides for texts in both for text in texts))
        longest = [[max((len(tokens[text]) for text in texts), default=0) for texts in both] for both in sides]
        return sum(sum(both) > ROOM for both in longest)

    def score_sentences(self, captions: Sequence[tuple[Sequence[str], Sequence[str]]]) -> list[float]:
        """One value per caption given as (chunks of its context, sentences of its claim).

        The mean over sentences of the maximum over chunks of P(aligned) by the three-way head (Zha et al. 2023); 0.0
        where there is no sentence.
        """
        aligned = [found.softmax(-1)[..., 0] for found in self.outputs(captions, head="tri_layer")]
        return [float(found.amax(0).mean()) if found.numel() else 0.0 for found in aligned]

    def outputs(self, captions: Sequence[tuple[Sequence[str], Sequence[str]]], *, head: str) -> list[Tensor]:
        """What one head (bin_layer, tri_layer, reg_layer) says of each caption: (chunks, sentences, outputs), raw."""
        tokens = self._tokens(dict.fromkeys(text for both in captions for texts in both for text in texts))
        rows = [pairs(*both, tokens) for both in captions]
        unique = list(dict.fromkeys(pair for row in rows for pair in row))
        place = {pair: number for number, pair in enumerate(unique)}
        found = self._run(unique, tokens, head)
        numbers = [torch.tensor([place[pair] for pair in row], dtype=torch.long) for row in rows]
        shapes = [(len(passages), len(sentences), found.shape[1]) for passages, sentences in captions]
        return [found[taken].reshape(shape) for taken, shape in zip(numbers, shapes, strict=True)]

    def _tokens(self, texts: Iterable[str]) -> dict[str, list[int]]:
        # One more than there is room for, to see that a text is too long; lists so short keep memory flat.
        names = list(texts)
        limit = {"truncation": True, "max_length": ROOM + 1}
        ids = self.tokenizer(names, add_special_tokens=False, **limit)["input_ids"] if names else []
        return dict(zip(names, ids, strict=True))

    @torch.inference_mode()
    def _run(self, unique: Sequence[Pair], tokens: Mapping[str, Sequence[int]], head: str) -> Tensor:
        """(pairs, outputs of the head), on the CPU."""
        weight, bias = self.heads[head]
        found = torch.empty(len(unique), len(bias))
        size = [min(len(tokens[pair.chunk]) + len(tokens[pair.sentence]), ROOM) for pair in unique]
        for batch in batches(size, budget=self.batch_tokens):
            rows = [torch.tensor(self.pair_ids(unique[number], tokens)) for number in batch]
            ids = pad_sequence(rows, batch_first=True, padding_value=self.tokenizer.pad_token_id)
            first = self.encoder.first_states(self.model.embeddings(ids.to(self.device)), [len(row) for row in rows])
            # The pooler takes the first of several tokens.
            found[batch] = linear(self.model.pooler(first[:, None]).float(), weight, bias).cpu()
        return found

    def pair_ids(self, pair: Pair, tokens: Mapping[str, Sequence[int]]) -> list[int]:
        """`<s> chunk </s></s> sentence </s>`, at most 512 ids."""
        chunk, sentence = tokens[pair.chunk], tokens[pair.sentence]
        first, second = kept(len(chunk), len(sentence), halved=pair.halved)
        begin, end = self.tokenizer.cls_token_id, self.tokenizer.sep_token_id
        return [begin, *chunk[:first], end, end, *sentence[:second], end]
