"""The README's results table, kept equal to reports/summary.md."""

import re
from pathlib import Path

from radcap import files
from radcap.errors import UserError

MARKS = ("<!-- results -->", "<!-- /results -->")


def with_table(readme: str, table: str) -> str:
    """The README with what stands between its marks replaced by the table. UserError without the marks."""
    pattern = re.compile(f"{re.escape(MARKS[0])}.*?{re.escape(MARKS[1])}", re.DOTALL)
    if not pattern.search(readme):
        raise UserError(f"README.md lacks the marks {MARKS[0]} and {MARKS[1]}")
    return pattern.sub(lambda _: f"{MARKS[0]}\n{table.strip()}\n{MARKS[1]}", readme)


def update(readme: Path, summary: Path) -> bool:
    """Bring the README's table up to date; whether it changed."""
    old = readme.read_text(encoding="utf-8")
    new = with_table(old, table_of(summary.read_text(encoding="utf-8")))
    if new != old:
        files.write_text(readme, new)
    return new != old


def table_of(summary: str) -> str:
    """The first Markdown table of a text, empty where it has none."""
    match = re.search(r"^\|.*\n(?:\|.*\n)*", summary, re.MULTILINE)
    return match[0] if match else ""
