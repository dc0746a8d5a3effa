"""Image bytes to 8-bit RGB, whatever the file holds, and what makes a file unusable."""

import io
import warnings

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

MIN_SIDE = 8


class BadImage(ValueError):
    """Why an image file cannot be used, in a few words for quarantine.csv."""


def check(data: bytes) -> tuple[int, int, str]:
    """Decode fully and return (width, height, mode). BadImage: empty, unreadable, truncated, tiny or a bomb."""
    image = _decode(data)
    if min(image.size) < MIN_SIDE:
        raise BadImage(f"image is smaller than {MIN_SIDE} pixels")
    return image.width, image.height, image.mode


def open_rgb(data: bytes) -> Image.Image:
    """Decode to 8-bit RGB, turned upright by its EXIF mark. BadImage as in check.

    Integer and floating-point greys (16-bit and more) are stretched from their own minimum and maximum,
    since Pillow's convert would clip them to white. Transparency is laid on black.
    """
    image = ImageOps.exif_transpose(_decode(data))
    if image.mode.startswith(("I", "F")):
        image = _stretch(image)
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.new("RGBA", layer.size, "black")
        image.alpha_composite(layer)
    return image.convert("RGB")


def _decode(data: bytes) -> Image.Image:
    if not data:
        raise BadImage("image file is empty")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data))
            image.load()
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise BadImage("image has too many pixels") from None
    except UnidentifiedImageError:
        raise BadImage("file is no image") from None
    except (OSError, SyntaxError, ValueError, EOFError):
        raise BadImage("image is truncated or damaged") from None
    return image


def _stretch(image: Image.Image) -> Image.Image:
    values = np.asarray(image, dtype=np.float64)
    low, high = float(values.min()), float(values.max())
    scaled = (values - low) / (high - low) * 255 if high > low else np.zeros_like(values)
    return Image.fromarray(np.rint(scaled).astype(np.uint8))
