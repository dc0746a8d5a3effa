"""Every kind of image file becomes 8-bit RGB or is refused with a reason."""

import io

import numpy as np
import pytest
from PIL import Image

from radcap.data import images
from tests.conftest import png


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)  # type: ignore[arg-type]
    return buffer.getvalue()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_every_mode_opens_as_rgb(mode: str) -> None:
    if mode == "I;16":
        image = Image.fromarray(np.linspace(0, 65535, 1200).reshape(30, 40).astype(np.uint16))
    else:
        image = Image.open(io.BytesIO(png(1))).convert(mode)
    opened = images.open_rgb(encoded(image))
    assert (opened.mode, opened.size) == ("RGB", image.size)
    assert 60 < np.asarray(opened).mean() < 200


def test_cmyk_jpeg_opens_as_rgb() -> None:
    assert images.open_rgb(encoded(Image.new("CMYK", (20, 20), (0, 255, 255, 0)), "JPEG")).getpixel((5, 5))[0] > 200


def test_sixteen_bit_grey_keeps_its_contrast() -> None:
    ramp = np.linspace(100, 4000, 1600).reshape(40, 40).astype(np.uint16)
    values = np.asarray(images.open_rgb(encoded(Image.fromarray(ramp))))[..., 0]
    assert (values.min(), values.max()) == (0, 255)
    assert np.all(np.diff(values.ravel().astype(int)) >= 0)


def test_transparency_lies_on_black() -> None:
    assert images.open_rgb(encoded(Image.new("RGBA", (9, 9), (255, 255, 255, 0)))).getpixel((0, 0)) == (0, 0, 0)


def test_the_exif_mark_turns_the_picture_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert images.open_rgb(encoded(Image.new("RGB", (30, 20)), "JPEG", exif=exif)).size == (20, 30)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "image file is empty"),
        (b"not an image", "file is no image"),
        (encoded(Image.open(io.BytesIO(png(2, size=(64, 64)))).convert("RGB"), "JPEG")[:600], "image is truncated or damaged"),
        (png(3)[:300], "image is truncated or damaged"),
        (encoded(Image.new("L", (1, 1))), "image is smaller than 8 pixels"),
        (encoded(Image.new("1", (20_000, 10_000))), "image has too many pixels"),
    ],
    ids=["empty", "text", "truncated JPEG", "truncated PNG", "1 x 1", "bomb"],
)  # fmt: skip
def test_what_cannot_be_used_says_why(data: bytes, reason: str) -> None:
    with pytest.raises(images.BadImage) as caught:
        images.check(data)
    assert str(caught.value) == reason
