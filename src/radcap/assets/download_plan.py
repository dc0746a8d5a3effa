"""Plans the download of a repository: which commit it takes, and which files are missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Any

from radcap.assets import inspection, remote, sources
from radcap.assets.sources import COMMIT, Requirement
from radcap.errors import UserError
from radcap.models.hub import PATTERNS
from radcap.settings import SCORERS

INSPECT = {
    "similarity": inspection.medimageinsight,
    "bertscore": inspection.model,
    "bleurt": inspection.bleurt,
    "alignscore": inspection.alignscore,
}
REVISION_KEYS = {"bertscore": "deberta_revision", "bleurt": "bleurt_revision"}


@dataclass(frozen=True)
class PlannedFile:
    """A file of a repository. `sha256`: None if neither the hub nor the source provides it."""

    path: str
    size: int
    sha256: str | None
    is_present: bool


@dataclass(frozen=True)
class DownloadPlan:
    """The download of one repository. Without a commit nothing is done. `head`: the current commit of the branch."""

    requirement: Requirement
    commit: str = ""
    head: str = ""
    files: tuple[PlannedFile, ...] = ()

    @property
    def missing(self) -> list[PlannedFile]:
        return [file for file in self.files if not file.is_present]

    @property
    def note(self) -> str:
        """A remark if the branch has moved on; otherwise empty."""
        if self.commit == self.head:
            return ""
        source, branch = self.requirement.source, self.requirement.branch
        remark = f"{branch} of {source.repo} has moved on to {self.head}; {self.commit} is used"
        key = REVISION_KEYS.get(source.metric)
        return remark + (f", so {key} in {SCORERS} must name it" if key else "")


def plan_download(requirement: Requirement, recorded: Mapping[str, Any]) -> DownloadPlan:
    """Plan a download by asking the hub for the commit, files and sizes. The user's own checkpoints are left alone.

    `recorded`: what earlier downloads took. UserError: the hub is not reachable, the commit or a file does not exist,
    or another file is in its place.
    """
    source, path = requirement.source, requirement.path
    earlier = recorded.get(source.repo, {})
    is_ours = path is not None and earlier.get("place") == str(path)
    if path is not None and not is_ours and source is not sources.ROBERTA:
        status = INSPECT[source.metric](path)
        if status.state == "present":
            return DownloadPlan(requirement)
        if path.is_dir() and len(source.files) < 2:
            raise UserError(f"{source.name}: {status.reason}")
    answer = remote.repository_info(source.repo, requirement.branch)
    head, earlier_commit = answer.sha, earlier.get("commit") if earlier.get("branch") == requirement.branch else None
    commit = requirement.branch if COMMIT.fullmatch(requirement.branch) else source.commit or earlier_commit or head
    if commit != head:
        answer = remote.repository_info(source.repo, commit)
    return DownloadPlan(requirement, commit, head, _plan_files(requirement, commit, answer.siblings, is_ours=is_ours))


def _plan_files(
    requirement: Requirement, commit: str, siblings: list[Any], *, is_ours: bool
) -> tuple[PlannedFile, ...]:
    source, by_name = requirement.source, {entry.rfilename: entry for entry in siblings}
    names = source.files or [name for name in by_name if any(fnmatch(name, pattern) for pattern in PATTERNS)]
    if missing := [name for name in names if name not in by_name]:
        raise UserError(f"{source.repo} at {commit} has no {missing[0]}")
    planned = []
    for name in names:
        size, lfs = by_name[name].size or 0, by_name[name].lfs
        target = requirement.target(name) or remote.cached_file(source.repo, name, commit)
        is_present = target is not None and target.is_file() and target.stat().st_size == size
        if requirement.path and target and target.exists() and not (is_present or is_ours):
            raise UserError(
                f"{target} is not {name} of {source.repo}; move it, or name another place for {source.name}"
            )
        planned.append(PlannedFile(name, size, source.sha256.get(name) or (lfs.sha256 if lfs else None), is_present))
    return tuple(planned)
