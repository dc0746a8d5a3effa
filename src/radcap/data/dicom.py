"""A DICOM file as the 8-bit picture that a viewer would show."""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi, apply_windowing
from pydicom.pixels.utils import pixel_array

from radcap.data.images import BadImage

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAGIC, MAGIC_AT = b"DICM", 128
PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")


def is_dicom(data: bytes) -> bool:
    """Whether a file starting with these bytes (132 are enough) is DICOM."""
    return data[MAGIC_AT : MAGIC_AT + len(MAGIC)] == MAGIC


def to_png(data: bytes) -> tuple[bytes, list[str]]:
    """One frame as an 8-bit PNG (grey or RGB), and remarks on what was chosen. BadImage: why there is none.

    Of several frames the middle one. Grey values pass the modality's rescale or table, then the file's first
    VOI table or window, and span their own minimum to maximum where it has neither; MONOCHROME1 is inverted.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # pydicom only warns where a file ends too early.
            warnings.filterwarnings("error", message="(?s).*end of file", category=UserWarning)
            return _converted(dcmread(io.BytesIO(data)))
    except BadImage:
        raise
    # What a damaged element leads to is any kind of error.
    except Exception as error:
        words = " ".join(str(error).split())[:150]
        raise BadImage(f"DICOM file is truncated, damaged or not supported ({words})") from None


def _converted(dataset: Dataset) -> tuple[bytes, list[str]]:
    if not any(name in dataset for name in PIXELS):
        raise BadImage("DICOM file holds no pixels, or is cut off before them")
    _check_decoder(dataset)
    frames = int(dataset.get("NumberOfFrames") or 1)
    index = (frames - 1) // 2
    remarks = [f"frame {index + 1} of {frames}"] if frames > 1 else []
    values = pixel_array(dataset, index=index)
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        values = apply_color_lut(values, dataset)
        shown = values / np.iinfo(values.dtype).max
    elif values.ndim == 3:
        shown = values / (2**dataset.BitsStored - 1)
    else:
        _flatten(dataset, index)
        shown = _grey(values, dataset, remarks)
    picture = np.rint(255 * np.clip(np.nan_to_num(shown), 0, 1)).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(picture[..., :3] if picture.ndim == 3 else picture).save(buffer, format="PNG")
    return buffer.getvalue(), remarks


def _check_decoder(dataset: Dataset) -> None:
    syntax = dataset.file_meta.TransferSyntaxUID
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        raise BadImage(f"DICOM pixels are stored as {syntax.name}, which nothing here decodes") from None
    if not decoder.is_available:
        plugins = [line.partition(" - requires ") for line in decoder.missing_dependencies]
        packages = " or ".join(needs for name, _, needs in plugins if name == "pylibjpeg")
        raise BadImage(f"DICOM pixels are stored as {syntax.name}; to decode that, install {packages}")


def _flatten(dataset: Dataset, index: int) -> None:
    """Bring a frame's own rescale and window to the top, where single-frame files have them and pydicom looks."""
    for groups, at in (("SharedFunctionalGroupsSequence", 0), ("PerFrameFunctionalGroupsSequence", index)):
        for group in (dataset.get(groups) or [])[at : at + 1]:
            for macro in ("PixelValueTransformationSequence", "FrameVOILUTSequence"):
                for item in (group.get(macro) or [])[:1]:
                    dataset.update(item)


def _grey(stored: NDArray[Any], dataset: Dataset, remarks: list[str]) -> NDArray[np.float64]:
    """(height, width) stored values as brightness from 0 to 1."""
    whole = stored.astype(np.int64) if stored.dtype.kind in "iu" else stored
    values = apply_modality_lut(whole, dataset)
    if dataset.get("VOILUTSequence"):
        shown = _by_table(values, dataset)
    elif dataset.get("WindowCenter") is not None and dataset.get("WindowWidth") is not None:
        shown = _by_window(values, dataset, remarks)
    else:
        shown = _by_range(values, _is_picture(stored, dataset))
    return 1 - shown if dataset.PhotometricInterpretation == "MONOCHROME1" else shown


def _by_table(values: NDArray[Any], dataset: Dataset) -> NDArray[np.float64]:
    entries, first, bits = dataset.VOILUTSequence[0].LUTDescriptor
    # pydicom wraps values beyond the table around to its other end.
    within = np.clip(np.rint(values), first, first + (entries or 2**16) - 1).astype(np.int64)
    return np.asarray(apply_voi(within, dataset) / (2**bits - 1), dtype=np.float64)


def _by_window(values: NDArray[Any], dataset: Dataset, remarks: list[str]) -> NDArray[np.float64]:
    try:
        shown = apply_windowing(values, dataset)
    except ValueError as error:
        remarks.append(f"its window is left out ({error})")
        return _by_range(values, np.ones(values.shape, dtype=bool))
    # The window's darkest and brightest, which the picture itself need not reach.
    low, high = apply_windowing(np.array([-np.inf, np.inf]), dataset)
    return np.asarray((shown - low) / ((high - low) or 1), dtype=np.float64)


def _by_range(values: NDArray[Any], counts: NDArray[np.bool_]) -> NDArray[np.float64]:
    """From the minimum to the maximum of what counts."""
    counted = values[counts & np.isfinite(values)]
    if not counted.size:
        return np.zeros(values.shape)
    low, high = float(counted.min()), float(counted.max())
    return np.asarray((values.astype(np.float64) - low) / ((high - low) or 1), dtype=np.float64)


def _is_picture(stored: NDArray[Any], dataset: Dataset) -> NDArray[np.bool_]:
    """False where scanners fill up around the picture with a value of their own, often far below all others."""
    padding = dataset.get("PixelPaddingValue")
    if padding is None:
        return np.ones(stored.shape, dtype=bool)
    low, high = sorted((padding, dataset.get("PixelPaddingRangeLimit", padding)))
    return np.asarray((stored < low) | (stored > high))
