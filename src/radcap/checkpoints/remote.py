"""The hub and the web: questions, single files and archives, and one clear line where neither answers."""

from __future__ import annotations

import contextlib
import hashlib
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from radcap import files
from radcap.checkpoints.sources import Archive
from radcap.errors import UserError

SECONDS = 10
INSTEAD = "fetch on a machine that reaches it, then copy packs/ and the hub's cache here"


@contextlib.contextmanager
def hub_errors() -> Iterator[None]:
    """Tell what the hub's client raises in one line that names the host."""
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OfflineModeIsEnabled

    try:
        yield
    except OfflineModeIsEnabled:
        raise UserError(f"{host()} is not asked because HF_HUB_OFFLINE is set; unset it, or {INSTEAD}") from None
    except HfHubHTTPError as error:
        raise UserError(f"{host()} refuses: {_first_line(error)}") from None
    except HFValidationError as error:
        raise UserError(f"neither a folder nor a hub id: {_first_line(error)}") from None
    except (httpx2.HTTPError, LocalEntryNotFoundError, ConnectionError, TimeoutError) as error:
        raise UserError(f"{host()} is not reachable ({_first_line(error)}); {INSTEAD}") from None
    except OSError as error:
        raise UserError(f"the download stopped: {_first_line(error)}") from None


def info(repo: str, revision: str) -> Any:
    """A repository's commit (`sha`) and files (`siblings`) at a revision, with sizes and hashes."""
    from huggingface_hub import HfApi

    with hub_errors():
        return HfApi().model_info(repo, revision=revision, files_metadata=True, timeout=SECONDS)


def file(repo: str, path: str, commit: str, folder: Path, *, size: int) -> Path:
    """Download one file into a folder, with a progress bar. One that was interrupted goes on where it ended."""
    from huggingface_hub import file_download, hf_hub_url
    from huggingface_hub.utils import build_hf_headers

    target = folder / commit / path
    target.parent.mkdir(parents=True, exist_ok=True)
    so_far = target.stat().st_size if target.exists() else 0
    with hub_errors(), target.open("ab") as stream:
        if so_far > size:
            so_far = stream.truncate(0)
        # hf_hub_download would begin anew: it keeps nothing of a file that it did not finish.
        file_download.http_get(
            hf_hub_url(repo, path, revision=commit),
            stream,
            resume_size=so_far,
            headers=build_hf_headers(),
            expected_size=size,
            displayed_filename=path.rsplit("/", 1)[-1],
        )
    return target


def cached_file(repo: str, path: str, revision: str) -> Path | None:
    """A file in the hub's cache."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repo, path, revision=revision)
    return Path(found) if isinstance(found, str) else None


def host() -> str:
    """The hub's."""
    from huggingface_hub import constants

    return str(urlsplit(constants.ENDPOINT).hostname)


def cache() -> Path:
    """The hub's cache."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    folder = folder.absolute()
    while not folder.exists():
        folder = folder.parent
    return folder


def reachable(*, seconds: float) -> str:
    """Why the hub cannot be reached; empty where it can."""
    import httpx2
    from huggingface_hub import constants

    if constants.is_offline_mode():
        return "HF_HUB_OFFLINE is set"
    try:
        httpx2.head(constants.ENDPOINT, timeout=seconds)
    except (httpx2.HTTPError, OSError) as error:
        return _first_line(error)
    return ""


def unpack(archive: Archive, place: Path) -> None:
    """Download an archive, check it, and put its folder at `place` as a whole."""
    if place.is_dir() and any(place.iterdir()):
        raise UserError(f"{place} holds other files; move them, or name another place")
    data = _read(archive)
    if hashlib.sha256(data).hexdigest() != archive.sha256:
        raise UserError(f"{archive.url} is not the file that was expected (sha256); nothing is written")
    with zipfile.ZipFile(io.BytesIO(data)) as packed, files.atomic_folder(place) as beside:
        inside = [name for name in packed.namelist() if name.startswith(archive.folder) and not name.endswith("/")]
        for name in inside:
            # Its last part alone, so that no name leads out of the folder.
            path = beside / PurePosixPath(archive.folder).name / PurePosixPath(name).name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(packed.read(name))


def _read(archive: Archive) -> bytes:
    from http.client import HTTPException
    from urllib.request import urlopen

    try:
        with urlopen(archive.url, timeout=SECONDS) as answer:
            data: bytes = answer.read()
    except (HTTPException, OSError) as error:
        raise UserError(
            f"{urlsplit(archive.url).hostname} is not reachable ({_first_line(error)}); {INSTEAD}"
        ) from None
    return data


def shown(size: int) -> str:
    """Bytes for people."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= factor:
            return f"{size / factor:.2f} {unit}" if unit == "GB" else f"{size / factor:.1f} {unit}"
    return f"{size} B"


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
