"""A comparison of experiments as text for a terminal, or as Markdown for a pull request."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from radcap.report.markdown import aligned, markdown
from radcap.report.published import COLUMNS
from radcap.report.tables.comparison import COLUMNS as HEADINGS
from radcap.report.tables.comparison import number

TableOf = Callable[[Sequence[str], Sequence[Sequence[str]], int], str]
SHOWN = ("relevance", "factuality", "overall")


def text(comparison: Mapping[str, Any]) -> str:
    return _page(comparison, lambda header, rows, words: aligned(header, rows, words=words), mark="")


def as_markdown(comparison: Mapping[str, Any]) -> str:
    return _page(comparison, lambda header, rows, words: markdown(header, rows, words=words), mark="## ")


def _page(comparison: Mapping[str, Any], table: TableOf, *, mark: str) -> str:
    names = list(comparison["experiments"])
    revs = ", ".join(f"{name} ({rev[:7]})" for name, rev in comparison["experiments"].items())
    parts = [f"{mark}Experiments\n", f"{revs}; protocol {comparison['protocol']}\n", f"{mark}Parameters that differ\n"]
    rows = [[key, *(_value(row[name]) for name in names)] for key, row in comparison["parameters"].items()]
    parts.append(table(["Parameter", *names], rows, 1 + len(names)) if rows else "None.\n")
    parts += [f"{mark}What trained, scores, cost\n", _figures(comparison["models"], table)]
    parts += [f"{mark}Differences\n", _tests(comparison, table)]
    if comparison["remarks"]:
        parts.append("".join(f"- {remark}\n" for remark in comparison["remarks"]))
    return "\n".join(parts)


def _figures(rows: Iterable[Mapping[str, Any]], table: TableOf) -> str:
    shown = [name for name in COLUMNS if any(row[name] is not None for row in rows)]
    header = ["Model", "Experiment", "Trained by", "Trained", "%", *(HEADINGS[name] for name in shown), "s", "MiB"]
    cells = [
        [
            *(
                row["model"],
                row["experiment"],
                row["variant"] or "n/a",
                _count(row["trained"]),
                _count(row["percent"], 2),
            ),
            *(number(row[name]) for name in shown),
            *(_count(row["seconds"], 1), _count(row["peak_memory_mib"])),
        ]
        for row in rows
    ]
    return table(header, cells, 3)


def _tests(comparison: Mapping[str, Any], table: TableOf) -> str:
    columns = {row["column"] for row in comparison["tests"]}
    shown = [name for name in SHOWN if name in columns] or [name for name in COLUMNS if name in columns]
    rows = [
        [
            *(row["model"], f"{row['first']} - {row['second']}", HEADINGS[row["column"]]),
            *(f"{row['difference']:+.3f}", f"{row['low']:+.3f} to {row['high']:+.3f}"),
            *(f"{row['p_holm']:.4f}", f"{row['effect']:+.2f}", "yes" if row["significant"] else "no"),
        ]
        for row in comparison["tests"]
        if row["column"] in shown
    ]
    header = ["Model", "Experiments", "Column", "Difference", "Interval", "p (Holm)", "dz", "Significant"]
    return table(header, rows, 3) if rows else "Nothing to test.\n"


def _count(value: float | None, places: int = 0) -> str:
    return "n/a" if value is None else f"{value:,.{places}f}"


def _value(value: Any) -> str:
    return " ".join(str(value).split())
