"""The official evaluators' preprocessing of captions."""

import re
import string

_DIGITS = re.compile(r"\d+")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def preprocess(caption: str) -> str:
    """Lower case, every run of (Unicode) digits -> "number", ASCII punctuation deleted, in this order."""
    return _DIGITS.sub("number", encodable(caption).lower()).translate(_PUNCTUATION)


def encodable(text: str) -> str:
    """The text with half surrogate pairs, which are no characters, as "?": no tokenizer and no file takes them."""
    return text.encode("utf-8", "replace").decode("utf-8")
