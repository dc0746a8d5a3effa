"""Preprocessing of captions by the official evaluators of ImageCLEF."""

import re
import string

_DIGITS = re.compile(r"\d+")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def preprocess(caption: str) -> str:
    """Lower-case the caption, replace each run of (Unicode) digits by "number", then delete ASCII punctuation."""
    return _DIGITS.sub("number", replace_surrogates(caption).lower()).translate(_PUNCTUATION)


def replace_surrogates(text: str) -> str:
    """Replace lone surrogates by "?". They are no characters, and neither tokenizers nor files accept them."""
    return text.encode("utf-8", "replace").decode("utf-8")
