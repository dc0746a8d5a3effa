"""Where the scorers' checkpoints lie."""

from pathlib import Path

RECORD = "scorers.json"


def place(folder: Path, name: str) -> Path:
    """A checkpoint beside the record, or at a path of its own."""
    inside = folder / name
    return inside if inside.exists() else Path(name).expanduser()
