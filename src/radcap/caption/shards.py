"""Captions as they come, in a folder that outlives a killed run: the next one goes on where it was."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from radcap.caption.records import Caption, json_line

STALE_DAYS = 7


class CaptionShards:
    """A folder named by what defines its captions, with a file of its own for every process that ever wrote there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: dict[str, Path] = {}

    def add(self, variant: str, captions: Sequence[Caption]) -> None:
        """Append one batch and wait until it is on disk."""
        if variant not in self.files:
            self.folder.mkdir(parents=True, exist_ok=True)
            # Named by chance: a process number may come again, and what a kill has torn must not be appended to.
            number, name = tempfile.mkstemp(prefix=f"{variant}.", suffix=".jsonl", dir=self.folder)
            os.close(number)
            self.files[variant] = Path(name)
        with self.files[variant].open("a", encoding="utf-8", newline="\n") as stream:
            stream.write("".join(map(json_line, captions)))
            stream.flush()
            os.fsync(stream.fileno())

    def read(self, variant: str) -> dict[str, Caption]:
        """{image id: caption} of all whole lines; a kill may have torn the last one of a file."""
        paths = sorted(self.folder.glob(f"{variant}.*.jsonl"))
        return {caption.id: caption for path in paths for caption in _whole(path)}

    def remove(self) -> None:
        """After the captions are where they belong."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def prune(self) -> None:
        """Remove what interrupted runs under other settings left beside and nobody went on with for a week."""
        limit = time.time() - STALE_DAYS * 86400
        for other in sorted(self.folder.parent.glob("*")):
            newest = max(path.stat().st_mtime for path in [other, *other.iterdir()])
            if other != self.folder and newest < limit:
                shutil.rmtree(other, ignore_errors=True)
                print(f"{other}: captions of a run interrupted over {STALE_DAYS} days ago removed")


def _whole(path: Path) -> Iterator[Caption]:
    for text in path.read_text(encoding="utf-8", errors="replace").split("\n"):
        try:
            yield Caption(**json.loads(text))
        except (ValueError, TypeError):
            # Torn, or the empty end of the file; its batch is decoded again.
            continue
