"""Access to the hub and the web: metadata, files and archives, with one-line errors if they are not reachable."""

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
from radcap.assets.sources import Archive
from radcap.errors import UserError

TIMEOUT = 10
OFFLINE_ADVICE = "fetch on a machine that reaches it, then copy packs/ and the hub's cache here"


@contextlib.contextmanager
def hub_errors() -> Iterator[None]:
    """Turn errors of the hub's client into a UserError of one line that names the host."""
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OfflineModeIsEnabled

    try:
        yield
    except OfflineModeIsEnabled:
        raise UserError(
            f"{hub_host()} is not asked because HF_HUB_OFFLINE is set; unset it, or {OFFLINE_ADVICE}"
        ) from None
    except HfHubHTTPError as error:
        raise UserError(f"{hub_host()} refuses: {_first_line(error)}") from None
    except HFValidationError as error:
        raise UserError(f"neither a folder nor a hub id: {_first_line(error)}") from None
    except (httpx2.HTTPError, LocalEntryNotFoundError, ConnectionError, TimeoutError) as error:
        raise UserError(f"{hub_host()} is not reachable ({_first_line(error)}); {OFFLINE_ADVICE}") from None
    except OSError as error:
        raise UserError(f"the download stopped: {_first_line(error)}") from None


def repository_info(repo: str, revision: str) -> Any:
    """The commit (`sha`) of a repository at a revision, and its files (`siblings`) with sizes and hashes."""
    from huggingface_hub import HfApi

    with hub_errors():
        return HfApi().model_info(repo, revision=revision, files_metadata=True, timeout=TIMEOUT)


def download_file(repo: str, path: str, commit: str, folder: Path, *, size: int) -> Path:
    """Download a file into a folder, with a progress bar. An interrupted download resumes where it stopped."""
    from huggingface_hub import file_download, hf_hub_url
    from huggingface_hub.utils import build_hf_headers

    target = folder / commit / path
    target.parent.mkdir(parents=True, exist_ok=True)
    so_far = target.stat().st_size if target.exists() else 0
    with hub_errors(), target.open("ab") as stream:
        if so_far > size:
            so_far = stream.truncate(0)
        # hf_hub_download would start again, because it deletes unfinished files.
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
    """The path of a file in the hub's cache; None if it is not there."""
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(repo, path, revision=revision)
    return Path(cached) if isinstance(cached, str) else None


def hub_host() -> str:
    from huggingface_hub import constants

    return str(urlsplit(constants.ENDPOINT).hostname)


def hub_cache() -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def nearest_existing(folder: Path) -> Path:
    """The folder, or the nearest parent that exists."""
    folder = folder.absolute()
    while not folder.exists():
        folder = folder.parent
    return folder


def unreachable_reason(*, timeout: float) -> str:
    """Why the hub cannot be reached; empty if it can."""
    import httpx2
    from huggingface_hub import constants

    if constants.is_offline_mode():
        return "HF_HUB_OFFLINE is set"
    try:
        httpx2.head(constants.ENDPOINT, timeout=timeout)
    except (httpx2.HTTPError, OSError) as error:
        return _first_line(error)
    return ""


def download_archive(archive: Archive, path: Path) -> None:
    """Download an archive, verify its hash, and unpack its folder to `path`, completely or not at all."""
    if path.is_dir() and any(path.iterdir()):
        raise UserError(f"{path} holds other files; move them, or name another place")
    data = _download(archive)
    if hashlib.sha256(data).hexdigest() != archive.sha256:
        raise UserError(f"{archive.url} is not the expected file (sha256); nothing is written")
    with zipfile.ZipFile(io.BytesIO(data)) as packed, files.atomic_folder(path) as out:
        members = [name for name in packed.namelist() if name.startswith(archive.folder) and not name.endswith("/")]
        for name in members:
            # Only the last part of the name, so that no member is written outside of the folder.
            target = out / PurePosixPath(archive.folder).name / PurePosixPath(name).name
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(packed.read(name))


def _download(archive: Archive) -> bytes:
    from http.client import HTTPException
    from urllib.request import urlopen

    try:
        with urlopen(archive.url, timeout=TIMEOUT) as answer:
            data: bytes = answer.read()
    except (HTTPException, OSError) as error:
        raise UserError(
            f"{urlsplit(archive.url).hostname} is not reachable ({_first_line(error)}); {OFFLINE_ADVICE}"
        ) from None
    return data


def format_size(size: int) -> str:
    """A number of bytes with its unit."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= factor:
            return f"{size / factor:.2f} {unit}" if unit == "GB" else f"{size / factor:.1f} {unit}"
    return f"{size} B"


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
