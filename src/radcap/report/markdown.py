"""Markdown tables."""

from collections.abc import Collection, Iterable


def markdown(
    header: Iterable[str], rows: Iterable[Iterable[str]], *, words: int = 1, wide: Collection[int] = ()
) -> str:
    """A Markdown table, the first `words` columns and those of the numbers in `wide` left, the others right."""
    head = list(header)
    marks = ["---" if number < words or number in wide else "---:" for number in range(len(head))]
    return "".join("| " + " | ".join(cells) + " |\n" for cells in (head, marks, *rows))
