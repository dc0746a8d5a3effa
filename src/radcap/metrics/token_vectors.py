"""Token vectors of texts in a file, read back text by text, so that memory does not grow with their number."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from radcap import files

VECTORS, INDEX = "vectors.f32", "index.json"


class TokenVectors:
    """What `write` left in a folder."""

    def __init__(self, folder: Path) -> None:
        index = files.read_json(folder / INDEX)
        self.width, self.rows = int(index["width"]), index["rows"]
        self.path = folder / VECTORS

    def read(self, text: str) -> Tensor:
        """tokens x width, float32. KeyError: the text was not written."""
        start, count = self.rows[text]
        vectors = np.fromfile(self.path, np.float32, count * self.width, offset=start * self.width * 4)
        return torch.from_numpy(vectors.reshape(count, self.width))

    @staticmethod
    def write(folder: Path, batches: Iterable[tuple[list[str], list[Tensor]]]) -> None:
        """Batches of texts with the vectors of each."""
        rows: dict[str, tuple[int, int]] = {}
        start = width = 0
        with (folder / VECTORS).open("wb") as stream:
            for texts, vectors in batches:
                for text, vector in zip(texts, vectors, strict=True):
                    stream.write(vector.numpy().tobytes())
                    rows[text] = (start, len(vector))
                    start, width = start + len(vector), vector.shape[1]
        files.write_json(folder / INDEX, {"width": width, "rows": rows})
