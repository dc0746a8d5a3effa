"""The part of `radcap doctor` about the machine: packages, device, disk, hub, DVC and MLflow."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from radcap.assets import remote
from radcap.runtime import tracking

LOCK = Path("requirements.lock")
HUB_TIMEOUT = 2.0
State = Literal["present", "missing", "damaged", "differs", "fallback", "offline"]


@dataclass(frozen=True, kw_only=True)
class Check:
    """One line of the doctor's table. `needed`: the profile is not ready unless this is present."""

    name: str
    state: State
    detail: str
    needed: bool = False
    place: str | None = None
    size: int | None = None
    licence: str | None = None
    get: str | None = None


def checks() -> list[Check]:
    """All checks of the machine, in the order of the table."""
    return [python(), packages(LOCK), device(), disk(), hub(), dvc(), mlflow()]


def python() -> Check:
    return Check(name="Python", state="present", detail=platform.python_version())


def packages(lock: Path) -> Check:
    """Compares the installed versions with the lock file's. A local build suffix, as torch's +cpu, does not matter."""
    if not lock.is_file():
        return Check(name="packages", state="missing", detail=f"{lock} not found", get="run in the project's root")
    locked = dict(re.findall(r"^([\w.-]+)==([^\s;]+)", lock.read_text(encoding="utf-8"), re.MULTILINE))
    installed: dict[str, str] = {
        _normalize(each.metadata["Name"]): str(each.version) for each in importlib.metadata.distributions()
    }
    missing = [name for name in locked if _normalize(name) not in installed]
    different = [
        f"{name} {installed[_normalize(name)]} instead of {version}"
        for name, version in locked.items()
        if str(installed.get(_normalize(name), version)).split("+")[0] != version
    ]
    get = f"make setup, or pip install -r {lock}"
    if missing:
        detail = f"{len(missing)} of {len(locked)} are not installed: {_first_three(missing)}"
        return Check(name="packages", state="missing", detail=detail, needed=True, get=get)
    if different:
        detail = f"{len(different)} of {len(locked)} have other versions: {_first_three(different)}"
        return Check(name="packages", state="differs", detail=detail, get=get)
    return Check(name="packages", state="present", detail=f"{len(locked)} as in {lock}", needed=True)


def device() -> Check:
    """The GPUs, or the CPU, that torch uses."""
    try:
        import torch
    except ImportError as error:
        return Check(name="device", state="missing", detail=f"no torch ({error})", needed=True, get="make setup")
    version = f"torch {torch.__version__}"
    if not torch.cuda.is_available():
        return Check(name="device", state="present", detail=f"CPU, {os.cpu_count()} cores; {version}")
    cards = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
    gpus = ", ".join(f"{card.name} ({remote.format_size(card.total_memory)})" for card in cards)
    return Check(name="device", state="present", detail=f"{gpus}; {version}")


def disk() -> Check:
    """Free space for packs/ and for the hub's cache."""
    cache = remote.hub_cache()
    here_free, cache_free = (shutil.disk_usage(remote.nearest_existing(folder)).free for folder in (Path(), cache))
    detail = f"{remote.format_size(here_free)} free here, {remote.format_size(cache_free)} for the hub's cache"
    return Check(name="disk", state="present", detail=detail, place=str(cache))


def hub() -> Check:
    if reason := remote.unreachable_reason(timeout=HUB_TIMEOUT):
        detail = f"{remote.hub_host()} cannot be reached ({reason}): only its cache is used"
        return Check(name="hub", state="offline", detail=detail)
    return Check(name="hub", state="present", detail=f"{remote.hub_host()} answers")


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
    """Where runs are recorded. The first run creates a database that does not exist."""
    # A server's address may contain a password.
    uri = re.sub(r"//[^/@]*@", "//", tracking.tracking_uri())
    database = Path(uri.removeprefix("sqlite:///"))
    new = uri.startswith("sqlite:") and not database.exists()
    return Check(name="MLflow", state="present", detail="the first run creates it" if new else "in use", place=uri)


def ftfy() -> Check:
    """What repairs captions for MedImageInsight's tokenizer (text_tower.text_repair_name)."""
    try:
        version = importlib.metadata.version("ftfy")
    except importlib.metadata.PackageNotFoundError:
        detail = "not installed: a simpler repair of captions leaves mojibake alone, and scores record this"
        return Check(name="ftfy", state="fallback", detail=detail, licence="Apache-2.0", get="pip install ftfy")
    return Check(name="ftfy", state="present", detail=f"ftfy {version}", licence="Apache-2.0")


def _normalize(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _first_three(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
