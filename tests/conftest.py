"""Shared fixtures: the project's root, the real data, and small folders in ROCOv2's layout."""

import csv
import io
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]

# No test reaches a hub, and none waits for one.
os.environ["HF_HUB_OFFLINE"] = "1"


@pytest.fixture
def root() -> Path:
    return ROOT


def copy_settings(folder: Path) -> None:
    """The project's params.yaml and configs/, for a test that changes them or runs elsewhere."""
    shutil.copy(ROOT / "params.yaml", folder)
    shutil.copytree(ROOT / "configs", folder / "configs")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Real radiology images and captions, which are not part of the project."""
    folder = Path(os.environ.get("RADCAP_REAL_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "radiology").is_dir():
        pytest.skip(f"no real data in {folder}; name its folder in RADCAP_REAL_DATA")
    return folder


def png(seed: int = 0, *, size: tuple[int, int] = (40, 32), mode: str = "L") -> bytes:
    """A small picture of noise."""
    noise = np.random.default_rng(seed).integers(0, 255, (size[1], size[0]), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).convert(mode).save(buffer, format="PNG")
    return buffer.getvalue()


Rows = list[tuple[str, str]]


@pytest.fixture
def rocov2(tmp_path: Path) -> Callable[[Mapping[str, Rows]], Path]:
    """Make a folder in ROCOv2's layout from {split: [(id, caption)]}; splits not named get two plain rows."""

    def make(splits: Mapping[str, Rows]) -> Path:
        folder = tmp_path / "rocov2"
        for split in ("train", "valid", "test"):
            rows = splits.get(split, [(f"{split}_1", "CT of the chest."), (f"{split}_2", "MRI of the brain.")])
            (folder / split).mkdir(parents=True)
            _write_csv(folder / f"{split}_captions.csv", ("ID", "Caption"), rows)
            _write_csv(folder / f"{split}_concepts.csv", ("ID", "CUIs"), [(id_, "C0040405") for id_, _ in rows])
            for number, (id_, _) in enumerate(rows):
                if "/" not in id_:
                    (folder / split / f"{id_}.png").write_bytes(png(number))
        return folder

    return make


def _write_csv(path: Path, header: tuple[str, str], rows: Rows) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(header)
        writer.writerows(rows)
