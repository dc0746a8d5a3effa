"""Mistakes of users, reported in one line."""

from __future__ import annotations

import contextlib
import re
import signal
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import ValidationError


class UserError(ValueError):
    """A mistake that the user can correct. The message says what is wrong, where, and what is allowed."""


class Interrupted(KeyboardInterrupt):
    """A signal has asked this process to end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextlib.contextmanager
def one_line_errors() -> Iterator[None]:
    """End the process with one clear line instead of a traceback: exit code 2 for a UserError, 130 for Ctrl-C.

    Another signal that the command handles gives 128 plus its number, as in a shell.
    """
    try:
        yield
    except UserError as error:
        print(f"radcap: error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt as interrupt:
        number = interrupt.number if isinstance(interrupt, Interrupted) else signal.SIGINT
        how = "interrupted" if number == signal.SIGINT else f"ended by {signal.Signals(number).name}"
        print(f"radcap: {how}; nothing half-written is left behind", file=sys.stderr)
        sys.exit(128 + number)


def first_mistake(error: ValidationError) -> str:
    """The first mistake of a pydantic report in one line (key, value, allowed values), and how many follow."""
    mistakes = error.errors()
    first = mistakes[0]
    place = _place(first)
    key = ".".join(place)
    # A union of types (a number or a word) reports one mistake per type.
    same = [m for m in mistakes if _place(m) == place]
    if first["type"] == "missing":
        text = f"{key} is missing"
    elif first["type"] == "value_error":
        text = f"{key}: {first['ctx']['error']}" if key else str(first["ctx"]["error"])
    else:
        text = f"{key}: {first['input']!r} is not allowed; allowed: {' or '.join(_allowed(m) for m in same)}"
    more = len(mistakes) - len(same)
    return text + (f" (and {more} more)" if more else "")


def _place(mistake: Any) -> list[str]:
    parts = [str(part) for part in mistake["loc"]]
    return [
        p for p in parts if p != "[key]" and not re.fullmatch(r"(constrained-)?(int|float)|(literal|dict)\[.*\]", p)
    ]


def _allowed(mistake: Any) -> str:
    if mistake["type"] == "literal_error":
        return str(mistake["ctx"]["expected"]).replace("'", "").replace(" or ", ", ")
    allowed = str(mistake["msg"]).removeprefix("Input should be ")
    kind = {"greater_than": "a number ", "greater_than_equal": "a number ", "less_than": "a number "}
    return kind.get(mistake["type"], "") + allowed
