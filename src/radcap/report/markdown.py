"""Tables as Markdown, and as text in columns."""

from collections.abc import Collection, Iterable, Sequence


def markdown(
    header: Iterable[str], rows: Iterable[Iterable[str]], *, words: int = 1, wide: Collection[int] = ()
) -> str:
    """A Markdown table, the first `words` columns and those of the numbers in `wide` left, the others right."""
    head = list(header)
    marks = ["---" if number < words or number in wide else "---:" for number in range(len(head))]
    return "".join("| " + " | ".join(cells) + " |\n" for cells in (head, marks, *rows))


def aligned(header: Sequence[str], rows: Iterable[Sequence[str]], *, words: int = 1) -> str:
    """For a terminal: columns two blanks apart, the first `words` to the left, the others to the right."""
    lines = [header, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]

    def padded(line: Sequence[str]) -> Iterable[str]:
        for number, (cell, width) in enumerate(zip(line, widths, strict=True)):
            yield cell.ljust(width) if number < words else cell.rjust(width)

    return "".join("  ".join(padded(line)).rstrip() + "\n" for line in lines)
