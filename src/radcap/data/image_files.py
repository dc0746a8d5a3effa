"""Files and folders that a user names, as image bytes for a model."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from radcap.data import dicom, images
from radcap.data.images import BadImage

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".dcm", ".dicom")
# Qwen's image processors refuse more; no picture of a body is so long.
MAX_ASPECT = 200


@dataclass(frozen=True)
class ImageFile:
    """Encoded `image` bytes that radcap.data.images.open_rgb decodes; `remarks` say what was chosen of a file."""

    image: bytes
    width: int
    height: int
    remarks: tuple[str, ...]


def find_images(arguments: Sequence[str]) -> list[str]:
    """Every picture's path: files as given, folders searched to any depth in the order of their paths.

    In folders a picture is known by its suffix, or by DICOM's magic where there is none but digits (a UID's end).
    A folder without pictures stands for itself: `read` says what is wrong with it, as it does for a missing path.
    """
    paths: list[str] = []
    for name in arguments:
        paths += list(_within(name)) or [name]
    return paths


def _within(folder: str) -> Iterator[str]:
    root = Path(folder)
    for path in sorted(root.rglob("*"), key=lambda path: path.relative_to(root).as_posix()):
        if path.is_file() and (path.suffix.lower() in SUFFIXES or _is_bare_dicom(path)):
            yield os.path.join(folder, path.relative_to(root))


def _is_bare_dicom(path: Path) -> bool:
    # DICOMDIR is a disk's table of contents.
    if (path.suffix and not path.suffix[1:].isdigit()) or path.name == "DICOMDIR":
        return False
    try:
        with path.open("rb") as stream:
            return dicom.is_dicom(stream.read(dicom.MAGIC_AT + len(dicom.MAGIC)))
    except OSError:
        return False


def read_image(path: str) -> ImageFile:
    """One picture: DICOM as 8-bit PNG, other files' bytes as they are. BadImage: why it cannot be used."""
    data = _load(path)
    remarks: list[str] = []
    if dicom.is_dicom(data):
        data, remarks = dicom.to_png(data)
    elif data and path.lower().endswith((".dcm", ".dicom")):
        raise BadImage("file is no DICOM (its mark at byte 128 is missing)")
    width, height, _ = images.check(data)
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise BadImage(f"image of {width} x {height} pixels is more than {MAX_ASPECT} times as long as wide")
    pages = getattr(Image.open(io.BytesIO(data)), "n_frames", 1)
    if pages > 1:
        remarks = [f"page 1 of {pages}"]
    return ImageFile(data, width, height, tuple(remarks))


def _load(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise BadImage("no such file or folder") from None
    except IsADirectoryError:
        raise BadImage(f"folder holds no picture ({', '.join(SUFFIXES)})") from None
    except OSError as error:
        raise BadImage(f"cannot be read ({error.strerror})") from None
