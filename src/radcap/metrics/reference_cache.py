"""Values computed from the references of a split: computed once, then shared by all models, variants and processes."""

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

# How many sets of references stay in the cache beside the newest one.
MAX_OLDER_SETS = 4


class ReferenceCache:
    """A cache with one folder per set of references.

    `folder` belongs to one checkpoint: the caller names it after everything else that the values depend on. Without it
    the cache lives in a temporary folder, which is deleted with this object.
    """

    def __init__(self, folder: Path | None) -> None:
        self._temporary = None if folder else tempfile.TemporaryDirectory(prefix="radcap-")
        self.folder = folder or Path(self._temporary.name if self._temporary else "")

    def get(self, references: Collection[str], compute: Callable[[list[str], Path], None]) -> Path:
        """The folder of this set of references. Their order and repetitions do not matter.

        `compute(sorted references, folder)` fills the folder the first time.
        """
        unique = sorted(set(references))
        digest = hashlib.sha256(json.dumps(unique).encode()).hexdigest()[:24]
        path = self.folder / digest
        self.folder.mkdir(parents=True, exist_ok=True)
        # Another process that needs the same set waits until it is computed.
        with FileLock(self.folder / "kept.lock"):
            if not path.exists():
                with files.atomic_folder(path) as unfinished:
                    compute(unique, unfinished)
                self._delete_oldest(newest=path)
        return path

    def _delete_oldest(self, *, newest: Path) -> None:
        older = [path for path in self.folder.iterdir() if path.is_dir() and path != newest]
        for path in sorted(older, key=lambda path: path.stat().st_mtime)[: -MAX_OLDER_SETS or None]:
            shutil.rmtree(path)
            print(f"deleted the cached values of an older set of references: {path}", file=sys.stderr)
