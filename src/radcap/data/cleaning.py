"""Captions as one clean line each, and the identifiers that may name a file."""

import re
import unicodedata

# A format character that joins letters or emoji carries meaning; the others (zero-width blanks, marks) do not.
_KEPT_FORMATS = {"\u200c", "\u200d"}
_PLAIN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")


def clean_caption(text: str) -> str:
    """One line in Unicode's composed form (NFC), blanks of every kind as single spaces, none at the ends.

    No-break spaces, tabs, line and paragraph separators and control characters become blanks;
    zero-width characters vanish. An empty result means: there is no caption.
    """
    composed = unicodedata.normalize("NFC", text)
    return " ".join("".join(map(_plain, composed)).split())


def _plain(character: str) -> str:
    category = unicodedata.category(character)
    if category == "Cf":
        return character if character in _KEPT_FORMATS else ""
    return " " if category in ("Zs", "Zl", "Zp", "Cc") else character


def is_plain_id(text: str) -> bool:
    """Whether an id can name a file inside its folder: letters, digits, '.', '_', '-', no separators, no '..'."""
    return _PLAIN_ID.fullmatch(text) is not None and ".." not in text
