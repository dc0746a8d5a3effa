"""The code that a stage runs: its script and the modules that it imports.

Comments and docstrings do not count: they change no hash.
"""

from __future__ import annotations

import ast
import hashlib
import io
import tokenize
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
# Packages that validate, start, record and report. No result depends on them.
NEUTRAL = frozenset(
    ["__init__", "assets", "cli", "commands", "errors", "files", "launch", "layout", "pipeline", "runtime", "settings"],
)
# Modules that are chosen by name at run time; no import statement shows them.
BY_NAME = {
    "prepare": ("data/phantoms/draw/*.py",),
    "aggregate": ("models/**/*.py", "models/full_size/*.json"),
}
# Modules that are imported but not run by the stage: only `base` makes tokenizers.
NOT_RUN = {"finetune": ("models/tokenizers.py",), "generate": ("models/tokenizers.py",)}


def code(script: Path, stage: str, *, family: str | None = None, model: str | None = None) -> dict[str, str]:
    """{path: hash} of the script of a stage, the modules that it imports, and the data files beside them.

    `family` is the package of the stage's model and `model` its key; both are chosen by name at run time. Paths are
    relative to the package.
    """
    by_name = [path for pattern in BY_NAME.get(stage, ()) for path in PACKAGE.glob(pattern)]
    if family:
        by_name += (PACKAGE / "models" / "families" / family).glob("*.py")
    if model:
        by_name += (PACKAGE / "models" / "full_size").glob(f"{model}.json")
    not_run = {PACKAGE / name for name in NOT_RUN.get(stage, ())}
    modules = _closure([script, *(path for path in by_name if path.suffix == ".py")], not_run) - {script}
    data = {path for path in by_name if path.suffix != ".py"} | {path for module in modules for path in _beside(module)}
    hashes = {path.relative_to(PACKAGE).as_posix(): _hash(path) for path in sorted(modules | data)}
    # Most __init__.py contain only a docstring.
    return {f"stages/{script.name}": _hash(script), **{name: digest for name, digest in hashes.items() if digest}}


def _closure(start: Iterable[Path], excluded: set[Path]) -> set[Path]:
    todo = list(start)
    seen = set(todo)
    while todo:
        new = {path for path in _imported(todo.pop()) - seen - excluded if not _is_neutral(path)}
        todo += new
        seen |= new
    return seen


def _is_neutral(path: Path) -> bool:
    return path.relative_to(PACKAGE).with_suffix("").parts[0] in NEUTRAL


@cache
def _imported(source: Path) -> frozenset[Path]:
    """The files of radcap that a file imports anywhere, with the __init__.py of the packages around them."""
    paths: set[Path] = set()
    for name in _names(ast.parse(source.read_text(encoding="utf-8"))):
        parts = name.split(".")
        if parts[0] != "radcap":
            continue
        for length in range(2, len(parts) + 1):
            path = PACKAGE.joinpath(*parts[1:length])
            paths |= {path.with_suffix(".py"), path / "__init__.py"}
    return frozenset(path for path in paths if path.is_file())


def _names(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def _beside(module: Path) -> Iterator[Path]:
    """Data files in a module's folder: word lists, the page's HTML, CSS and JavaScript."""
    return (path for path in module.parent.iterdir() if path.is_file() and path.suffix not in (".py", ".typed"))


@cache
def _hash(path: Path) -> str:
    """SHA-256 (first 16 digits) of a file without comments and docstrings; empty if nothing else is in it."""
    data = path.read_bytes()
    if path.suffix == ".py":
        data = effective(data.decode()).encode()
    return hashlib.sha256(data).hexdigest()[:16] if data else ""


def effective(source: str) -> str:
    """A module's source without comments, docstrings, blank lines and trailing white space.

    It cuts the source text and does not print a syntax tree, so that every Python version gives the same text.
    """
    lines = source.splitlines()
    for (row, start), (last, end) in sorted({*_docstrings(source), *_comments(source)}, reverse=True):
        if row == last:
            lines[row - 1] = lines[row - 1][:start] + lines[row - 1][end:]
        else:
            lines[row - 1 : last] = [lines[row - 1][:start] + lines[last - 1][end:]]
    return "\n".join(line.rstrip() for line in lines if line.strip())


Span = tuple[tuple[int, int], tuple[int, int]]


def _comments(source: str) -> Iterator[Span]:
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start, token.end


def _docstrings(source: str) -> Iterator[Span]:
    lines = source.splitlines()
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) or not node.body:
            continue
        first = node.body[0]
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
            assert first.end_lineno is not None
            assert first.end_col_offset is not None
            # ast counts bytes, but slices count characters.
            start = len(lines[first.lineno - 1].encode()[: first.col_offset].decode())
            end = len(lines[first.end_lineno - 1].encode()[: first.end_col_offset].decode())
            yield (first.lineno, start), (first.end_lineno, end)
