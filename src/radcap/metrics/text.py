"""The official evaluators' preprocessing of captions."""

import re
import string

_DIGITS = re.compile(r"\d+")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def preprocess(caption: str) -> str:
    """Lower case, every run of (Unicode) digits -> "number", ASCII punctuation deleted, in this order."""
    return _DIGITS.sub("number", caption.lower()).translate(_PUNCTUATION)
