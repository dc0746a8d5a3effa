"""What `radcap doctor` says of the machine: packages, device, disk, hub, stores."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from radcap.checkpoints import remote
from radcap.runtime import tracking

LOCK = Path("requirements.lock")
HUB_SECONDS = 2.0
State = Literal["present", "missing", "damaged", "differs", "fallback", "offline"]


@dataclass(frozen=True, kw_only=True)
class Check:
    """One line of the doctor's table. `needed`: the profile cannot do all its work unless it is present."""

    name: str
    state: State
    detail: str
    needed: bool = False
    place: str | None = None
    size: int | None = None
    licence: str | None = None
    get: str | None = None


def checks() -> list[Check]:
    """The machine's part, in the table's order."""
    return [python(), packages(LOCK), device(), disk(), hub(), dvc(), mlflow()]


def python() -> Check:
    return Check(name="Python", state="present", detail=platform.python_version())


def packages(lock: Path) -> Check:
    """Installed versions against the lock file's; torch's local build suffix does not count."""
    if not lock.is_file():
        return Check(name="packages", state="missing", detail=f"{lock} not found", get="run in the project's root")
    wanted = dict(re.findall(r"^([\w.-]+)==([^\s;]+)", lock.read_text(encoding="utf-8"), re.MULTILINE))
    found: dict[str, str] = {
        _plain(each.metadata["Name"]): str(each.version) for each in importlib.metadata.distributions()
    }
    missing = [name for name in wanted if _plain(name) not in found]
    other = [
        f"{name} {found[_plain(name)]} instead of {version}"
        for name, version in wanted.items()
        if str(found.get(_plain(name), version)).split("+")[0] != version
    ]
    get = f"make setup, or pip install -r {lock}"
    if missing:
        told = f"{len(missing)} of {len(wanted)} are not installed: {_some(missing)}"
        return Check(name="packages", state="missing", detail=told, needed=True, get=get)
    if other:
        told = f"{len(other)} of {len(wanted)} have other versions: {_some(other)}"
        return Check(name="packages", state="differs", detail=told, get=get)
    return Check(name="packages", state="present", detail=f"{len(wanted)} as in {lock}", needed=True)


def device() -> Check:
    """What torch computes on."""
    try:
        import torch
    except ImportError as error:
        return Check(name="device", state="missing", detail=f"no torch ({error})", needed=True, get="make setup")
    version = f"torch {torch.__version__}"
    if not torch.cuda.is_available():
        return Check(name="device", state="present", detail=f"CPU, {os.cpu_count()} cores; {version}")
    cards = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
    told = ", ".join(f"{card.name} ({remote.shown(card.total_memory)})" for card in cards)
    return Check(name="device", state="present", detail=f"{told}; {version}")


def disk() -> Check:
    """Free space where packs/ and the hub's cache go."""
    here, cache = (shutil.disk_usage(remote.existing(folder)).free for folder in (Path(), remote.cache()))
    told = f"{remote.shown(here)} free here, {remote.shown(cache)} for the hub's cache"
    return Check(name="disk", state="present", detail=told, place=str(remote.cache()))


def hub() -> Check:
    if reason := remote.reachable(seconds=HUB_SECONDS):
        told = f"{remote.host()} cannot be reached ({reason}): what is in its cache is used"
        return Check(name="hub", state="offline", detail=told)
    return Check(name="hub", state="present", detail=f"{remote.host()} answers")


def dvc() -> Check:
    if not Path(".dvc").is_dir():
        get = "run in the project's root"
        return Check(name="DVC", state="missing", detail="no DVC project in this folder", needed=True, get=get)
    try:
        version = importlib.metadata.version("dvc")
    except importlib.metadata.PackageNotFoundError:
        return Check(name="DVC", state="missing", detail="not installed", needed=True, get="make setup")
    return Check(name="DVC", state="present", detail=version, needed=True)


def mlflow() -> Check:
    """Where runs go; a database that is not there is made by the first one."""
    # A server's address may hold a password.
    uri = re.sub(r"//[^/@]*@", "//", tracking.tracking_uri())
    database = Path(uri.removeprefix("sqlite:///"))
    new = uri.startswith("sqlite:") and not database.exists()
    return Check(name="MLflow", state="present", detail="made by the first run" if new else "in use", place=uri)


def ftfy() -> Check:
    """What repairs captions before MedImageInsight's tokenizer (text_tower.repair_name)."""
    try:
        version = importlib.metadata.version("ftfy")
    except importlib.metadata.PackageNotFoundError:
        told = "not installed: captions are repaired by a rule that leaves mojibake alone, and scores say so"
        return Check(name="ftfy", state="fallback", detail=told, licence="Apache-2.0", get="pip install ftfy")
    return Check(name="ftfy", state="present", detail=f"ftfy {version}", licence="Apache-2.0")


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
