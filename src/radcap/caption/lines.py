"""Generated captions as JSON lines."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from radcap import files


@dataclass(frozen=True)
class Caption:
    """One generated caption. `finish` is "end" (the model ended it) or "length" (cut at max_new_tokens)."""

    id: str
    variant: str
    caption: str
    tokens: int
    finish: str


def write(path: Path, made: Sequence[Caption]) -> None:
    """One JSON object a line, in the order given."""
    files.write_text(path, "".join(json.dumps(asdict(caption), ensure_ascii=False) + "\n" for caption in made))


def read(path: Path) -> list[Caption]:
    # Split at \n alone: a caption may hold other characters that str.splitlines would split at.
    return [Caption(**json.loads(line)) for line in path.read_text(encoding="utf-8").split("\n") if line]
