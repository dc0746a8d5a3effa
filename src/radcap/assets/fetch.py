"""`radcap fetch scorers`: downloads the scorers' public checkpoints to where a profile expects them."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from radcap import files
from radcap.assets import inspection, remote, sources
from radcap.assets.download_plan import DownloadPlan, PlannedFile, plan_download
from radcap.assets.sources import PUNKT
from radcap.errors import UserError
from radcap.models.hub import download
from radcap.settings import Profile, Settings

# Commits, sizes and hashes of what was fetched, so that a second fetch takes the same.
RECORD = Path("packs/fetched.json")


def fetch_scorers(params: Settings, *, profile: str, yes: bool) -> bool:
    """Fetch what a profile's scorers lack. Returns False if the user declines.

    UserError: there is no such profile, the hub is not reachable, the disk is too full, a file is not the expected one,
    or there is neither a terminal to ask on nor `yes`.
    """
    settings = profile_settings(params, profile).scorers
    if settings.weights == "miniature":
        print(f"profile {profile} trains miniature scorers: nothing to fetch")
        return True
    recorded = files.read_json(RECORD) if RECORD.exists() else {}
    plans = [plan_download(requirement, recorded) for requirement in sources.requirements(settings)]
    punkt = Path(settings.punkt).expanduser()
    lacks_punkt = inspection.punkt(punkt).state != "present"
    _print_plans(plans, punkt, lacks_punkt=lacks_punkt)
    if not Path(settings.medcat_pack).expanduser().exists():
        print(f"UMLS concepts: {sources.UMLS_PACK} {settings.medcat_pack}")
    for conflict in sources.tokenizer_conflicts(params, settings).values():
        print(f"warning: {conflict}")
    total = sum(file.size for plan in plans for file in plan.missing) + lacks_punkt * PUNKT.size
    if not _confirm(plans, total, yes=yes):
        print("nothing fetched")
        return False
    _fetch_all(plans, recorded, punkt if lacks_punkt else None)
    print(
        f"fetched {remote.format_size(total)}; {RECORD} has commits and hashes; now run `dvc repro -f scorers`"
        if total
        else "nothing to fetch"
    )
    return True


def _fetch_all(plans: Sequence[DownloadPlan], recorded: dict[str, Any], punkt: Path | None) -> None:
    """Fetch everything, and record each repository as soon as it is complete."""
    for plan in plans:
        # A repository whose files are all present is recorded too, with their hashes.
        repo = plan.requirement.source.repo
        if plan.missing or (plan.commit and recorded.get(repo, {}).get("commit") != plan.commit):
            recorded[repo] = _fetch(plan)
            files.write_json(RECORD, recorded)
    if punkt:
        remote.download_archive(PUNKT, punkt)
        recorded[PUNKT.name] = {"url": PUNKT.url, "place": str(punkt), "size": PUNKT.size, "sha256": PUNKT.sha256}
        files.write_json(RECORD, recorded)


def profile_settings(params: Settings, profile: str) -> Profile:
    """The settings of a profile, by its name. UserError: there is no such profile."""
    profiles = {str(name): settings for name, settings in params.profiles.items()}
    if profile not in profiles:
        raise UserError(f"profile: {profile!r} is not allowed; allowed: {', '.join(profiles)}")
    return profiles[profile]


def _print_plans(plans: Sequence[DownloadPlan], punkt: Path, *, lacks_punkt: bool) -> None:
    for plan in plans:
        source, path = plan.requirement.source, plan.requirement.path or "the hub's cache"
        total, missing = (sum(file.size for file in selected) for selected in (plan.files, plan.missing))
        sizes = f"{remote.format_size(total)}, {f'{remote.format_size(missing)} to fetch' if missing else 'present'}"
        action = (
            f"{source.repo}@{plan.commit[:12]} -> {path}: {sizes}" if plan.commit else f"{path}: your own, left alone"
        )
        print(f"{source.name}: {action} ({source.licence})")
        if plan.note:
            print(f"  {plan.note}")
    action = f"{remote.format_size(PUNKT.size)} to fetch" if lacks_punkt else "present"
    print(f"{PUNKT.name}: nltk_data -> {punkt}: {action} ({PUNKT.licence})")


def _confirm(plans: Sequence[DownloadPlan], total: int, *, yes: bool) -> bool:
    """Whether the user agrees. UserError: a disk is too full, or there is no terminal to ask on."""
    for folder, size in _bytes_per_disk(plans).items():
        free = shutil.disk_usage(folder).free
        if size > free:
            raise UserError(f"{folder}: {remote.format_size(size)} to fetch, only {remote.format_size(free)} free")
    if not total or yes:
        return True
    if not sys.stdin.isatty():
        raise UserError(
            f"{remote.format_size(total)} to fetch, and no terminal to ask on; --yes fetches without asking"
        )
    return input(f"fetch {remote.format_size(total)}? [y/N] ").strip().lower() in ("y", "yes")


def _bytes_per_disk(plans: Sequence[DownloadPlan]) -> dict[Path, int]:
    """{a folder on each disk: the number of bytes to fetch onto that disk}."""
    disks: dict[int, tuple[Path, int]] = {}
    for plan in plans:
        folder = remote.nearest_existing(plan.requirement.path or remote.hub_cache())
        device = folder.stat().st_dev
        first, size = disks.get(device, (folder, 0))
        disks[device] = first, size + sum(file.size for file in plan.missing)
    return dict(disks.values())


def _fetch(plan: DownloadPlan) -> dict[str, Any]:
    """Fetch one repository; return its entry of the record."""
    requirement, repo = plan.requirement, plan.requirement.source.repo
    if requirement.path is None:
        # By the name of the branch if it is at this commit, so that the name can be resolved without network too.
        with remote.hub_errors():
            folder = download(repo, requirement.branch if plan.commit == plan.head else plan.commit)
        hashes = {file.path: _verified_hash(folder / file.path, file, repo) for file in plan.files}
    else:
        hashes = _download_to_path(plan)
    return {
        "commit": plan.commit,
        "branch": requirement.branch,
        "place": str(requirement.path) if requirement.path else None,
        "files": {file.path: {"size": file.size, "sha256": hashes[file.path]} for file in plan.files},
    }


def _download_to_path(plan: DownloadPlan) -> dict[str, str]:
    """Download to the staging folder, verify, then move all files. An interrupted download resumes the next time."""
    requirement, repo = plan.requirement, plan.requirement.source.repo
    assert requirement.staging is not None
    for file in plan.missing:
        remote.download_file(repo, file.path, plan.commit, requirement.staging, size=file.size)
    staged = {file.path: requirement.staging / plan.commit / file.path for file in plan.missing}
    targets = {file.path: requirement.target(file.path) or Path() for file in plan.files}
    hashes = {file.path: _verified_hash(staged.get(file.path, targets[file.path]), file, repo) for file in plan.files}
    for name, path in staged.items():
        with files.atomic_file(targets[name]) as unfinished:
            os.replace(path, unfinished)
    shutil.rmtree(requirement.staging, ignore_errors=True)
    return hashes


def _verified_hash(path: Path, file: PlannedFile, repo: str) -> str:
    digest = files.sha256(path)
    if path.stat().st_size != file.size or digest != (file.sha256 or digest):
        raise UserError(f"{repo}: {path} is not the expected file (size or sha256); delete it, and fetch again")
    return digest
