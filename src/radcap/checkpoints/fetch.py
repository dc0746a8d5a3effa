"""`radcap fetch scorers`: the scorers' public checkpoints from the hub, to where a profile wants them."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from radcap import files
from radcap.checkpoints import present, remote, sources
from radcap.checkpoints.plan import File, Plan, plan
from radcap.checkpoints.sources import PUNKT
from radcap.errors import UserError
from radcap.models.hub import download
from radcap.settings import Profile, Settings

# What was fetched: commits, sizes and hashes, so that a second fetch takes the same.
RECORD = Path("packs/fetched.json")


def scorers(params: Settings, *, profile: str, yes: bool) -> bool:
    """Fetch what a profile's scorers lack; False where the user says no.

    UserError: no such profile, no hub reachable, too little room, a file that is not the one expected, or neither a
    terminal to ask on nor `yes`.
    """
    settings = block(params, profile).scorers
    if settings.weights == "miniature":
        print(f"profile {profile} trains small scorers of its own: nothing to fetch")
        return True
    recorded = files.read_json(RECORD) if RECORD.exists() else {}
    plans = [plan(wanted, recorded) for wanted in sources.wanted(settings)]
    punkt = Path(settings.punkt).expanduser()
    archive = present.punkt(punkt).state != "present"
    _show(plans, punkt, archive=archive)
    if not Path(settings.medcat_pack).expanduser().exists():
        print(f"UMLS concepts: {sources.UMLS_PACK} {settings.medcat_pack}")
    for clash in sources.clashes(params, settings).values():
        print(f"careful: {clash}")
    total = sum(file.size for entry in plans for file in entry.missing) + archive * PUNKT.size
    if not _agreed(plans, total, yes=yes):
        print("nothing fetched")
        return False
    _fetch_all(plans, recorded, punkt if archive else None)
    print(
        f"fetched {remote.shown(total)}; {RECORD} holds commits and hashes; `dvc repro -f scorers` takes them up"
        if total
        else "nothing to fetch"
    )
    return True


def _fetch_all(plans: Sequence[Plan], recorded: dict[str, Any], punkt: Path | None) -> None:
    """Fetch, and record each repository as soon as it is there."""
    for entry in plans:
        # Also where all is there: the files' hashes belong on record.
        repo = entry.wanted.source.repo
        if entry.missing or (entry.commit and recorded.get(repo, {}).get("commit") != entry.commit):
            recorded[repo] = _fetch(entry)
            files.write_json(RECORD, recorded)
    if punkt:
        remote.unpack(PUNKT, punkt)
        recorded[PUNKT.name] = {"url": PUNKT.url, "place": str(punkt), "size": PUNKT.size, "sha256": PUNKT.sha256}
        files.write_json(RECORD, recorded)


def block(params: Settings, profile: str) -> Profile:
    """A profile by its name; UserError for an unknown one."""
    named = {str(name): found for name, found in params.profiles.items()}
    if profile not in named:
        raise UserError(f"profile: {profile!r} is not allowed; allowed: {', '.join(named)}")
    return named[profile]


def _show(plans: Sequence[Plan], punkt: Path, *, archive: bool) -> None:
    for entry in plans:
        source, place = entry.wanted.source, entry.wanted.place or "the hub's cache"
        size, lacking = (sum(file.size for file in which) for which in (entry.files, entry.missing))
        told = f"{remote.shown(size)}, {f'{remote.shown(lacking)} to fetch' if lacking else 'there'}"
        at = (
            f"{source.repo}@{entry.commit[:12]} -> {place}: {told}" if entry.commit else f"{place}: your own, let alone"
        )
        print(f"{source.name}: {at} ({source.licence})")
        if entry.note:
            print(f"  {entry.note}")
    told = f"{remote.shown(PUNKT.size)} to fetch" if archive else "there"
    print(f"{PUNKT.name}: nltk_data -> {punkt}: {told} ({PUNKT.licence})")


def _agreed(plans: Sequence[Plan], total: int, *, yes: bool) -> bool:
    """Whether there is room, and the user wants it."""
    for folder, lacking in _room(plans).items():
        free = shutil.disk_usage(folder).free
        if lacking > free:
            raise UserError(f"{folder}: {remote.shown(lacking)} to fetch, only {remote.shown(free)} free")
    if not total or yes:
        return True
    if not sys.stdin.isatty():
        raise UserError(f"{remote.shown(total)} to fetch, and no terminal to ask on; --yes fetches without asking")
    return input(f"fetch {remote.shown(total)}? [y/N] ").strip().lower() in ("y", "yes")


def _room(plans: Sequence[Plan]) -> dict[Path, int]:
    """{a folder of each disk: bytes to fetch onto it}."""
    found: dict[int, tuple[Path, int]] = {}
    for entry in plans:
        folder = remote.existing(entry.wanted.place or remote.cache())
        disk = folder.stat().st_dev
        first, so_far = found.get(disk, (folder, 0))
        found[disk] = first, so_far + sum(file.size for file in entry.missing)
    return dict(found.values())


def _fetch(entry: Plan) -> dict[str, Any]:
    """Fetch one repository; its entry of the record."""
    wanted, repo = entry.wanted, entry.wanted.source.repo
    if wanted.place is None:
        # By the branch's name where that is the same, so that the name too is found without a network.
        with remote.hub_errors():
            folder = download(repo, wanted.branch if entry.commit == entry.head else entry.commit)
        hashes = {file.path: _checked(folder / file.path, file, repo) for file in entry.files}
    else:
        hashes = _into_place(entry)
    return {
        "commit": entry.commit,
        "branch": wanted.branch,
        "place": str(wanted.place) if wanted.place else None,
        "files": {file.path: {"size": file.size, "sha256": hashes[file.path]} for file in entry.files},
    }


def _into_place(entry: Plan) -> dict[str, str]:
    """Download beside the place, check, then rename all: an interrupted one goes on there the next time."""
    wanted, repo = entry.wanted, entry.wanted.source.repo
    assert wanted.staging is not None
    for file in entry.missing:
        remote.file(repo, file.path, entry.commit, wanted.staging, size=file.size)
    staged = {file.path: wanted.staging / entry.commit / file.path for file in entry.missing}
    targets = {file.path: wanted.target(file.path) or Path() for file in entry.files}
    hashes = {file.path: _checked(staged.get(file.path, targets[file.path]), file, repo) for file in entry.files}
    for name, path in staged.items():
        with files.atomic_file(targets[name]) as beside:
            os.replace(path, beside)
    shutil.rmtree(wanted.staging, ignore_errors=True)
    return hashes


def _checked(path: Path, file: File, repo: str) -> str:
    digest = files.sha256(path)
    if path.stat().st_size != file.size or digest != (file.sha256 or digest):
        raise UserError(f"{repo}: {path} is not the file that was expected (size or sha256); delete it, fetch again")
    return digest
