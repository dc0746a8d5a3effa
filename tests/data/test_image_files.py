"""Every kind of picture that a user names becomes one that open_rgb decodes, or is refused with a reason."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
    SecondaryCaptureImageStorage,
)

from radcap.data import image_files
from radcap.data.images import BadImage, open_rgb
from tests.conftest import png
from tests.data.test_images import encoded


def dicom(values: np.ndarray, *, bits: int = 0, leave_out: tuple[str, ...] = (), **elements: Any) -> Dataset:
    """A single- or multi-frame DICOM of stored values: (height, width), (frames, height, width) or with 3 samples."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = SecondaryCaptureImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = "1.2.3"
    colour = values.shape[-1] == 3
    dataset.Rows, dataset.Columns = values.shape[-3:-1] if colour else values.shape[-2:]
    dataset.SamplesPerPixel = 3 if colour else 1
    if colour:
        dataset.PlanarConfiguration = 0
    if values.ndim == (4 if colour else 3):
        dataset.NumberOfFrames = len(values)
    dataset.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    dataset.BitsAllocated = values.dtype.itemsize * 8
    dataset.BitsStored = bits or dataset.BitsAllocated
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(values.dtype.kind == "i")
    dataset.PixelData = values.tobytes()
    for name, value in elements.items():
        setattr(dataset, name, value)
    for name in leave_out:
        delattr(dataset, name)
    return dataset


def written(dataset: Dataset, path: Path) -> str:
    dataset.save_as(path, enforce_file_format=True)
    return str(path)


def shown(path: str) -> np.ndarray:
    """The grey values that a model sees."""
    rgb = np.asarray(open_rgb(image_files.read_image(path).image))
    assert rgb.dtype == np.uint8
    assert (rgb[..., 0] == rgb[..., 1]).all()
    assert (rgb[..., 0] == rgb[..., 2]).all()
    return rgb[..., 0]


def item(**elements: Any) -> Sequence:
    dataset = Dataset()
    for name, value in elements.items():
        setattr(dataset, name, value)
    return Sequence([dataset])


WINDOW = {"WindowCenter": 128, "WindowWidth": 256}
HOUNSFIELD = {"RescaleSlope": 2, "RescaleIntercept": -1000}
SIGNED = np.arange(-32, 32, dtype=np.int16).reshape(8, 8)
RAMP = np.arange(64, dtype=np.uint16).reshape(8, 8)
BYTES = RAMP.astype(np.uint8)
# Black to 80, white from 117 on
TABLE = {"LUTDescriptor": [41, 80, 8], "LUTData": np.minimum(np.arange(41) * 7, 255).astype("<u2").tobytes()}


@pytest.mark.parametrize(
    ("values", "elements", "expected"),
    [
        (RAMP, {}, RAMP / 63),
        (RAMP, {"PhotometricInterpretation": "MONOCHROME1"}, 1 - RAMP / 63),
        (SIGNED, {}, (SIGNED + 32) / 63),
        (SIGNED, HOUNSFIELD, (SIGNED + 32) / 63),
        (np.full((8, 8), 700, np.uint16), {}, np.zeros((8, 8))),
        # A window of 8 bits is the identity, and does not stretch what it holds.
        (BYTES, WINDOW, BYTES / 255),
        (BYTES, WINDOW | {"PhotometricInterpretation": "MONOCHROME1"}, 1 - BYTES / 255),
        (RAMP, WINDOW, RAMP / 255),
        (RAMP, {"WindowCenter": [128, 9], "WindowWidth": [256, 3]}, RAMP / 255),
        (RAMP, {"WindowCenter": 32, "WindowWidth": 1}, RAMP > 31.5),
        (SIGNED, {"WindowCenter": 0.5, "WindowWidth": 33}, np.clip((SIGNED + 16) / 32, 0, 1)),
        # The window is meant for rescaled values: -1000 + 2 * 0 .. -1000 + 2 * 63.
        (RAMP, HOUNSFIELD | {"WindowCenter": -936.5, "WindowWidth": 127}, RAMP / 63),
        (RAMP, {"RescaleSlope": -1, "RescaleIntercept": 0, "WindowCenter": -31, "WindowWidth": 64}, 1 - RAMP / 63),
        (RAMP, WINDOW | {"VOILUTFunction": "SIGMOID"}, 1 / (1 + np.exp(-4 * (RAMP - 128.0) / 256))),
        (RAMP, {"WindowCenter": 32, "WindowWidth": 64, "VOILUTFunction": "LINEAR_EXACT"}, RAMP / 64),
        # Below, within and above a table: its first, its own and its last entry.
        (RAMP * 4, {"VOILUTSequence": item(**TABLE)}, np.clip((RAMP * 4.0 - 80) * 7, 0, 255) / 255),
        # Filled up to the round field of a scanner
        (np.where(SIGNED < 0, np.int16(-2000), SIGNED), {"PixelPaddingValue": -2000}, np.clip(SIGNED, 0, None) / 31),
    ],
    ids=[
        "16-bit", "MONOCHROME1", "signed", "rescale alone", "one value", "8-bit window", "8-bit window MONOCHROME1", "16-bit window",
        "first of two windows", "narrowest window", "signed window", "rescaled window", "negative slope", "sigmoid", "linear exact", "table", "padding",
    ],
)  # fmt: skip
def test_grey_is_what_the_file_says(
    tmp_path: Path, values: np.ndarray, elements: dict[str, Any], expected: Any
) -> None:
    path = written(dicom(values, **elements), tmp_path / "a.dcm")
    assert np.abs(shown(path) - 255 * np.asarray(expected, dtype=float)).max() <= 0.51


def test_twelve_of_sixteen_bits_and_a_window(tmp_path: Path) -> None:
    values = np.linspace(0, 4095, 64).astype(np.uint16).reshape(8, 8)
    path = written(dicom(values, bits=12, WindowCenter=2048, WindowWidth=4096), tmp_path / "a.dcm")
    assert np.abs(shown(path) - values / 4095 * 255).max() <= 0.51


def test_a_useless_window_is_left_out_and_told(tmp_path: Path) -> None:
    path = written(dicom(RAMP, WindowCenter=3, WindowWidth=0), tmp_path / "a.dcm")
    assert np.abs(shown(path) - RAMP / 63 * 255).max() <= 0.51
    (remark,) = image_files.read_image(path).remarks
    assert remark.startswith("its window is left out (")


def test_the_middle_of_several_frames_is_told(tmp_path: Path) -> None:
    frames = np.stack([BYTES + 10 * i for i in range(4)])
    path = written(dicom(frames, WindowCenter=128, WindowWidth=256), tmp_path / "a.dcm")
    assert (shown(path) == frames[1]).all()
    assert image_files.read_image(path).remarks == ("frame 2 of 4",)


def test_a_frames_own_window_and_rescale(tmp_path: Path) -> None:
    def group(slope: float) -> Dataset:
        values = item(RescaleSlope=slope, RescaleIntercept=0)
        return item(
            PixelValueTransformationSequence=values, FrameVOILUTSequence=item(WindowCenter=128, WindowWidth=256)
        )[0]

    groups = Sequence([group(9), group(2), group(9)])
    made = dicom(np.stack([BYTES] * 3), PerFrameFunctionalGroupsSequence=groups)
    assert (shown(written(made, tmp_path / "a.dcm")) == 2 * BYTES).all()


COLOURS = np.random.default_rng(3).integers(0, 255, (16, 12, 3), dtype=np.uint8)


def test_colour(tmp_path: Path) -> None:
    path = written(dicom(COLOURS), tmp_path / "a.dcm")
    assert (np.asarray(open_rgb(image_files.read_image(path).image)) == COLOURS).all()
    ybr = np.asarray(Image.fromarray(COLOURS).convert("YCbCr"))
    path = written(dicom(ybr, PhotometricInterpretation="YBR_FULL"), tmp_path / "b.dcm")
    assert np.abs(np.asarray(open_rgb(image_files.read_image(path).image), dtype=int) - COLOURS).max() <= 3


def test_palette_colour(tmp_path: Path) -> None:
    palette = {f"{name}PaletteColorLookupTableDescriptor": [64, 0, 16] for name in ("Red", "Green", "Blue")}
    tables = {"Red": np.arange(64) * 1000, "Green": np.zeros(64), "Blue": 65535 - np.arange(64)}
    palette |= {f"{name}PaletteColorLookupTableData": table.astype("<u2").tobytes() for name, table in tables.items()}
    path = written(dicom(BYTES, PhotometricInterpretation="PALETTE COLOR", **palette), tmp_path / "a.dcm")
    rgb = np.asarray(open_rgb(image_files.read_image(path).image), dtype=float)
    assert np.abs(rgb[..., 0] - BYTES * 1000.0 / 65535 * 255).max() <= 0.51
    assert (rgb[..., 1] == 0).all()
    assert (rgb[..., 2] == 255).all()


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless], ids=["RLE", "JPEG 2000"])
def test_compressed(tmp_path: Path, syntax: Any) -> None:
    made = dicom(np.repeat(np.repeat(BYTES, 4, axis=0), 4, axis=1), **WINDOW)
    expected = shown(written(made, tmp_path / "plain.dcm"))
    if syntax == RLELossless:
        made.compress(syntax, encoding_plugin="pydicom")
    else:
        made.PixelData = encapsulate([encoded(Image.fromarray(made.pixel_array), "JPEG2000", no_jp2=True)])
        made["PixelData"].VR, made.file_meta.TransferSyntaxUID = "OB", syntax
    assert (shown(written(made, tmp_path / "a.dcm")) == expected).all()


def bad_dicom(tmp_path: Path, kind: str) -> str:
    made = dicom(RAMP, leave_out=("PixelData",) if kind == "no pixels" else ())
    path = Path(written(made, tmp_path / "a.dcm"))
    data = path.read_bytes()
    if kind == "no decoder":
        dataset = dcmread(path)
        dataset.file_meta.TransferSyntaxUID = JPEGLSLossless
        dataset.PixelData = encapsulate([b"\0\0"])
        dataset["PixelData"].VR = "OB"
        written(dataset, path)
    elif kind == "no mark":
        path.write_bytes(b"\0" * 200)
    elif kind != "no pixels":
        path.write_bytes(data[: {"cut in pixels": -20, "cut in header": 400, "just the mark": 132, "empty": 0}[kind]])
    return str(path)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("no pixels", "DICOM file holds no pixels, or is cut off before them"),
        ("cut in pixels", "DICOM file is truncated, damaged or not supported (The number of bytes of pixel data is less"),
        ("cut in header", "DICOM file"),
        ("just the mark", "DICOM file"),
        ("empty", "image file is empty"),
        ("no mark", "file is no DICOM (its mark at byte 128 is missing)"),
        ("no decoder", "DICOM pixels are stored as JPEG-LS Lossless Image Compression; to decode that, install pylibjpeg"),
    ],
)  # fmt: skip
def test_a_dicom_without_a_picture_says_why(tmp_path: Path, kind: str, reason: str) -> None:
    with pytest.raises(BadImage) as caught:
        image_files.read_image(bad_dicom(tmp_path, kind))
    assert str(caught.value).startswith(reason)
    assert "\n" not in str(caught.value)


GREY16 = Image.fromarray(np.linspace(100, 4000, 1600).reshape(40, 40).astype(np.uint16))
GREY = Image.open(io.BytesIO(png(1)))


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.png", encoded(GREY)),
        ("a.png", encoded(GREY16)),
        ("a.png", encoded(GREY.convert("P"))),
        ("a.png", encoded(GREY.convert("1"))),
        ("a.png", encoded(GREY.convert("RGBA"))),
        ("a.JPG", encoded(GREY.convert("CMYK"), "JPEG")),
        ("a.tif", encoded(GREY16, "TIFF")),
        ("a.bmp", encoded(GREY, "BMP")),
        ("a.webp", encoded(GREY.convert("RGB"), "WEBP")),
        ("wide.png", encoded(Image.new("L", (20_000, 100)))),
        ("a", encoded(GREY)),
    ],
    ids=["grey", "16-bit", "palette", "bilevel", "transparent", "CMYK JPEG", "16-bit TIFF", "BMP", "WebP", "wide", "no suffix"],
)  # fmt: skip
def test_other_files_go_to_the_model_as_they_are(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    read = image_files.read_image(str(tmp_path / name))
    assert (read.image, read.remarks) == (data, ())
    assert open_rgb(read.image).size == (read.width, read.height)


def test_pages_beyond_the_first_are_told(tmp_path: Path) -> None:
    GREY.save(tmp_path / "a.tif", save_all=True, append_images=[GREY, GREY])
    assert image_files.read_image(str(tmp_path / "a.tif")).remarks == ("page 1 of 3",)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "image file is empty"),
        (b"text", "file is no image"),
        (encoded(GREY)[:300], "image is truncated or damaged"),
        (encoded(Image.new("L", (1, 1))), "image is smaller than 8 pixels"),
        (encoded(Image.new("L", (20_000, 9))), "image of 20000 x 9 pixels is more than 200 times as long as wide"),
    ],
)
def test_a_bad_picture_says_why(tmp_path: Path, data: bytes, reason: str) -> None:
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(BadImage) as caught:
        image_files.read_image(str(tmp_path / "a.png"))
    assert str(caught.value) == reason


def test_folders_are_searched_in_the_order_of_their_paths(tmp_path: Path) -> None:
    folder = tmp_path / "scans"
    for name in ("b.png", "a/z.JPEG", "a/1.dcm", "notes.txt", "a/README", "c/x.webp.part"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    for name in ("IM0001", "1.2.840.5", "DICOMDIR", "b.txt"):
        written(dicom(RAMP), folder / name)
    (tmp_path / "empty").mkdir()
    found = ["1.2.840.5", "IM0001", "a/1.dcm", "a/z.JPEG", "b.png"]
    given = [f"{folder}/", "lone.xyz", str(tmp_path / "empty")]
    assert image_files.find_images(given) == [*(f"{folder}/{name}" for name in found), *given[1:]]
    for path, reason in [(given[1], "no such file or folder"), (given[2], "folder holds no picture (.png, .jpg,")]:
        with pytest.raises(BadImage) as caught:
            image_files.read_image(path)
        assert str(caught.value).startswith(reason)
