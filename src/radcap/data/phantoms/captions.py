"""Captions: the facts of a case in varied wording, every fact said and no other."""

import re
from dataclasses import replace

import numpy as np

from radcap.data.phantoms import lexicon
from radcap.data.phantoms.atlas import PAIRED
from radcap.data.phantoms.case import Case
from radcap.data.phantoms.phrases import (
    ANATOMY,
    FINDINGS,
    FOUND,
    MODALITY,
    NORMAL,
    TAILS_FOUND,
    TAILS_NORMAL,
    TECHNIQUE,
    VIEW,
)

VOWELS = "aeiou"
# The shares below give captions of about 16 words with ROCOv2's long right tail.
SAY_SIZE, SAY_VIEW, SAY_TECHNIQUE, SAY_ARROW, SIDE_FIRST = 0.75, 0.6, 0.7, 0.15, 0.5


def caption(case: Case, rng: np.random.Generator) -> str:
    """A caption of the case; a dictionary tagger finds exactly `concepts(case)` in it."""
    # A side is said once: with a paired organ ("of the left kidney") or with the finding ("a left nodule").
    with_organ = case.anatomy in PAIRED and case.side in ("left", "right")
    if with_organ and case.finding is not None:
        with_organ = rng.random() < 0.5
    study = _study(case, rng, side=case.side if with_organ else None)
    if case.finding is None:
        text = pick(rng, NORMAL).format(study=study)
    else:
        text = _found(replace(case, side=None) if with_organ else case, rng, study=study)
    return _sentences(text + _tails(case, rng))


def find_concepts(text: str) -> frozenset[str]:
    """The concepts (CUIs) whose names occur in a text, by longest match."""
    words = _words(text)
    names = {tuple(_words(name)): concept.cui for name, concept in lexicon.by_name().items()}
    longest = max(map(len, names))
    concepts_found, at = set(), 0
    while at < len(words):
        for length in range(min(longest, len(words) - at), 0, -1):
            cui = names.get(tuple(words[at : at + length]))
            if cui is not None:
                concepts_found.add(cui)
                break
        else:
            length = 1
        at += length
    return frozenset(concepts_found)


def _study(case: Case, rng: np.random.Generator, *, side: str | None) -> str:
    """The examination as a noun phrase without article: "axial T2-weighted MRI of the brain"."""
    before, after = ANATOMY[case.anatomy]
    words = []
    if case.view is not None and rng.random() < SAY_VIEW:
        words.append(pick(rng, VIEW[case.view]))
    if case.technique is not None and rng.random() < SAY_TECHNIQUE:
        words.append(pick(rng, TECHNIQUE[case.technique]))
    modality = pick(rng, MODALITY[case.modality])
    if rng.random() < 0.5:
        return " ".join([*words, *filter(None, [side]), pick(rng, before), modality])
    return " ".join([*words, modality, "of the", *filter(None, [side]), pick(rng, after)])


def _found(case: Case, rng: np.random.Generator, *, study: str) -> str:
    assert case.finding is not None
    form = FINDINGS[case.finding]
    many = case.side == "bilateral" and bool(form.many)
    sized = case.size_mm is not None and not many and rng.random() < SAY_SIZE
    size = _size(case.size_mm, rng) if case.size_mm is not None and sized else None
    later = size is not None and rng.random() < 0.35
    arrow = (
        " (arrow)"
        if not many and rng.random() < SAY_ARROW
        else " (arrows)"
        if many and rng.random() < SAY_ARROW
        else ""
    )
    text = pick(rng, FOUND).format(
        study=study,
        it=_noun(case, rng, size=None if later else size, many=many),
        be="are" if many or case.finding == "drusen" else "is",
        arrow=arrow,
    )
    return text + (f" It measures {size}{pick(rng, ('', ' in diameter', ' across'))}." if later else "")


def _noun(case: Case, rng: np.random.Generator, *, size: str | None, many: bool) -> str:
    """The finding with article, size and side: "a 2.5 cm left nodule", "bilateral pleural effusions"."""
    assert case.finding is not None
    form = FINDINGS[case.finding]
    words = [pick(rng, form.many if many else form.one)]
    behind = ""
    if case.side is not None and rng.random() < SIDE_FIRST:
        sided = case.side if case.side == "bilateral" else pick(rng, (case.side, f"{case.side}-sided"))
        words.insert(0, sided)
    elif case.side is not None:
        behind = (
            " on both sides"
            if case.side == "bilateral"
            else pick(rng, (f" on the {case.side}", f" on the {case.side} side"))
        )
    if size is not None and rng.random() < 0.5:
        words.insert(0, size)
    elif size is not None:
        behind += f" measuring {size}"
    phrase = " ".join(words)
    return phrase + behind if many or form.mass else f"{_article(phrase)} {phrase}{behind}"


def _size(size_mm: int, rng: np.random.Generator) -> str:
    return f"{size_mm} mm" if rng.random() < 0.5 else f"{size_mm / 10:.1f} cm"


def _tails(case: Case, rng: np.random.Generator) -> str:
    """No, one or two more sentences that add no fact."""
    tails = TAILS_NORMAL if case.finding is None else TAILS_FOUND
    count = int(rng.choice(3, p=(0.7, 0.2, 0.1)))
    return "".join(f" {tails[index]}" for index in rng.permutation(len(tails))[:count])


def _sentences(text: str) -> str:
    """Capitals at the start of each sentence."""
    return re.sub(r"(?:^|(?<=\. ))[a-z]", lambda match: match.group().upper(), text)


def _article(phrase: str) -> str:
    # "An 80 mm", but "a 15 mm".
    return "an" if phrase[0] in VOWELS or phrase.startswith("8") else "a"


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text.lower())


def pick(rng: np.random.Generator, choices: tuple[str, ...]) -> str:
    """One of the choices, each as likely."""
    return choices[rng.integers(len(choices))]
