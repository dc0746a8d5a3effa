"""Generated captions as JSON lines."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from radcap import files


@dataclass(frozen=True, kw_only=True)
class Caption:
    """One generated caption.

    `raw` is the decoded text, `caption` the cleaned one. `tokens` counts them without the end token. `finish` is "end"
    (the model ended it) or "length" (cut). `logprob`: mean natural logarithm of its tokens' probabilities, the end
    token's too, to 4 places.
    """

    id: str
    variant: str
    raw: str
    caption: str
    tokens: int
    finish: str
    logprob: float


def json_line(caption: Caption) -> str:
    """A caption as one line with its end."""
    return json.dumps(asdict(caption), ensure_ascii=False) + "\n"


def write_captions(path: Path, captions: Sequence[Caption]) -> None:
    """One JSON object a line, in the order given."""
    files.write_text(path, "".join(map(json_line, captions)))


def read_captions(path: Path) -> list[Caption]:
    # Split at \n alone: a caption may hold other characters that str.splitlines would split at.
    return [Caption(**json.loads(text)) for text in path.read_text(encoding="utf-8").split("\n") if text]


def count_captions(captions: Sequence[Caption]) -> dict[str, int]:
    """What a reader of the captions must know of them: how many, and how many were cut or are empty."""
    return {
        "captions": len(captions),
        "cut": sum(caption.finish == "length" for caption in captions),
        "empty": sum(not caption.caption for caption in captions),
    }
