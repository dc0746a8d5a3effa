"""What was computed of a split's references: made once, then shared by every model, variant and process."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Collection
from pathlib import Path

from filelock import FileLock

from radcap import files

# Reference sets that stay beside the newest one.
LIMIT = 4


class Kept:
    """One folder per set of texts under `folder`, or under a temporary one that goes with this object.

    The folder belongs to one checkpoint: whoever opens a scorer names it by what else the values depend on.
    """

    def __init__(self, folder: Path | None) -> None:
        self._scratch = None if folder else tempfile.TemporaryDirectory(prefix="radcap-")
        self.folder = folder or Path(self._scratch.name if self._scratch else "")

    def get(self, texts: Collection[str], make: Callable[[list[str], Path], None]) -> Path:
        """The folder of this set, whatever its order and repetitions; `make(sorted texts, folder)` fills it once."""
        unique = sorted(set(texts))
        digest = hashlib.sha256(json.dumps(unique).encode()).hexdigest()[:24]
        path = self.folder / digest
        self.folder.mkdir(parents=True, exist_ok=True)
        # A process that wants the same set meanwhile waits for it.
        with FileLock(self.folder / "kept.lock"):
            if not path.exists():
                with files.atomic_folder(path) as beside:
                    make(unique, beside)
                self._prune(path)
        return path

    def _prune(self, newest: Path) -> None:
        others = [path for path in self.folder.iterdir() if path.is_dir() and path != newest]
        for path in sorted(others, key=lambda path: path.stat().st_mtime)[: -LIMIT or None]:
            shutil.rmtree(path)
            print(f"removed what was kept of an older set of references: {path}", file=sys.stderr)
