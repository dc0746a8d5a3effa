"""What a fetch of one repository would do: its commit, and which of its files are there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Any

from radcap.checkpoints import present, remote, sources
from radcap.checkpoints.sources import COMMIT, Wanted
from radcap.errors import UserError
from radcap.models.hub import PATTERNS
from radcap.settings import SCORERS

LOOKS = {
    "similarity": present.medimageinsight,
    "bertscore": present.model,
    "bleurt": present.bleurt,
    "alignscore": present.alignscore,
}
REVISION_KEYS = {"bertscore": "deberta_revision", "bleurt": "bleurt_revision"}


@dataclass(frozen=True)
class File:
    """A file of a repository. `sha256` where the hub or the table names it; `there`: it need not be fetched."""

    path: str
    size: int
    sha256: str | None
    there: bool


@dataclass(frozen=True)
class Plan:
    """What one repository's fetch does. `head`: the branch's commit by now. Without a commit it is let alone."""

    wanted: Wanted
    commit: str = ""
    head: str = ""
    files: tuple[File, ...] = ()

    @property
    def missing(self) -> list[File]:
        return [file for file in self.files if not file.there]

    @property
    def note(self) -> str:
        """What to know of a branch that has moved on."""
        if self.commit == self.head:
            return ""
        source, branch = self.wanted.source, self.wanted.branch
        told = f"{branch} of {source.repo} has moved on to {self.head}; {self.commit} is taken"
        key = REVISION_KEYS.get(source.metric)
        return told + (f", which {key} in {SCORERS} must name" if key else "")


def plan(wanted: Wanted, recorded: Mapping[str, Any]) -> Plan:
    """Ask the hub for a repository's commit, files and sizes; a checkpoint of the user's own is let alone.

    `recorded`: what earlier fetches took. UserError: no hub, no such commit or file, or another file in a place.
    """
    source, place = wanted.source, wanted.place
    before = recorded.get(source.repo, {})
    ours = place is not None and before.get("place") == str(place)
    if place is not None and not ours and source is not sources.ROBERTA:
        found = LOOKS[source.metric](place)
        if found.state == "present":
            return Plan(wanted)
        if place.is_dir() and len(source.files) < 2:
            raise UserError(f"{source.name}: {found.reason}")
    answer = remote.info(source.repo, wanted.branch)
    head, earlier = answer.sha, before.get("commit") if before.get("branch") == wanted.branch else None
    commit = wanted.branch if COMMIT.fullmatch(wanted.branch) else source.commit or earlier or head
    if commit != head:
        answer = remote.info(source.repo, commit)
    return Plan(wanted, commit, head, _files(wanted, commit, answer.siblings, ours=ours))


def _files(wanted: Wanted, commit: str, siblings: list[Any], *, ours: bool) -> tuple[File, ...]:
    source, named = wanted.source, {entry.rfilename: entry for entry in siblings}
    chosen = source.files or [name for name in named if any(fnmatch(name, pattern) for pattern in PATTERNS)]
    if absent := [name for name in chosen if name not in named]:
        raise UserError(f"{source.repo} at {commit} has no {absent[0]}")
    found = []
    for name in chosen:
        size, lfs = named[name].size or 0, named[name].lfs
        target = wanted.target(name) or remote.cached_file(source.repo, name, commit)
        there = target is not None and target.is_file() and target.stat().st_size == size
        if wanted.place and target and target.exists() and not (there or ours):
            raise UserError(
                f"{target} is not {name} of {source.repo}; move it, or name another place for {source.name}"
            )
        found.append(File(name, size, source.sha256.get(name) or (lfs.sha256 if lfs else None), there))
    return tuple(found)
