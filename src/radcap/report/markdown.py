"""Markdown tables."""

from collections.abc import Iterable


def markdown(header: Iterable[str], rows: Iterable[Iterable[str]], *, words: int = 1) -> str:
    """A Markdown table, the first `words` columns left, the others right."""
    head = list(header)
    lines = [head, [*("---" for _ in head[:words]), *("---:" for _ in head[words:])], *rows]
    return "".join("| " + " | ".join(cells) + " |\n" for cells in lines)
