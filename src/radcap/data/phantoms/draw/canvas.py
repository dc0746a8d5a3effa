"""A float canvas in [0, 1] with soft shapes and smooth noise: what all modalities are drawn with."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Floats = NDArray[np.float32]
Point = tuple[float, float]

SHORT, LONG = 160, 256


class Canvas:
    """Pixels (H, W) in picture coordinates: x from -1 (left) to 1 (right), y from -1 (top) to 1 (bottom).

    The coordinates are shifted and scaled a little per picture, so that all shapes move together.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        *,
        value: float = 0.0,
        shape: tuple[int, int] | None = None,
        jitter: float = 1.0,
    ) -> None:
        height, width = shape or _shape(rng)
        shift_x, shift_y = rng.uniform(-0.04, 0.04, 2) * jitter
        zoom = 1 + rng.uniform(-0.06, 0.05) * jitter
        self.x: Floats = ((np.linspace(-1, 1, width, dtype=np.float32) - shift_x) / zoom)[None, :]
        self.y: Floats = ((np.linspace(-1, 1, height, dtype=np.float32) - shift_y) / zoom)[:, None]
        self.pixels: Floats = np.full((height, width), value, np.float32)

    @property
    def shape(self) -> tuple[int, int]:
        return self.pixels.shape[0], self.pixels.shape[1]

    def paint(self, mask: NDArray[np.floating], value: float | Floats) -> None:
        """Mix `value` in where the mask (H, W) is 1."""
        self.pixels += mask * (value - self.pixels)

    def ellipse(
        self, x: float, y: float, rx: float, ry: float, value: float, *, soft: float = 0.08, turn: float = 0.0
    ) -> None:
        """A filled ellipse with a soft rim (share of the radius), turned by `turn` radians."""
        reach = max(rx, ry) if turn else 0.0
        rows, columns = self._window(x, y, max(rx, reach) * (1 + soft), max(ry, reach) * (1 + soft))
        dx, dy = self.x[:, columns] - x, self.y[rows] - y
        if turn:
            cos, sin = np.float32(np.cos(turn)), np.float32(np.sin(turn))
            dx, dy = dx * cos + dy * sin, dy * cos - dx * sin
        distance = np.sqrt((dx / rx) ** 2 + (dy / ry) ** 2)
        mask = np.clip((1 - distance) / soft + 0.5, 0, 1)
        part = self.pixels[rows, columns]
        part += mask * (np.float32(value) - part)

    def line(self, start: Point, end: Point, width: float, value: float, *, soft: float = 0.5) -> None:
        """A line with round ends; `width` is its half width, `soft` the share of it that fades."""
        middle = (start[0] + end[0]) / 2, (start[1] + end[1]) / 2
        reach = width * (1 + soft)
        half = abs(end[0] - start[0]) / 2 + reach, abs(end[1] - start[1]) / 2 + reach
        rows, columns = self._window(*middle, *half)
        dx, dy = self.x[:, columns] - start[0], self.y[rows] - start[1]
        along = np.array(end, np.float32) - np.array(start, np.float32)
        share = np.clip((dx * along[0] + dy * along[1]) / max(float(along @ along), 1e-9), 0, 1)
        distance = np.hypot(dx - share * along[0], dy - share * along[1])
        mask = np.clip((1 - distance / width) / soft + 0.5, 0, 1)
        part = self.pixels[rows, columns]
        part += mask * (np.float32(value) - part)

    def path(self, points: Iterable[Point], widths: float | Iterable[float], value: float) -> None:
        """A chain of lines through the points, each with its own half width."""
        corners = list(points)
        each = [widths] * len(corners) if isinstance(widths, float) else list(widths)
        for start, end, width in zip(corners, corners[1:], each, strict=False):
            self.line(start, end, width, value)

    def side_marker(self, text: str, x: float, y: float, size: float, value: float) -> None:
        """The side marker `L` or `R`, drawn as strokes, `size` high."""
        strokes = LETTERS[text]
        for start, end in strokes:
            ends = [(x + u * size * 0.6, y + v * size) for u, v in (start, end)]
            self.line(ends[0], ends[1], size * 0.11, value, soft=0.3)

    def ellipse_mask(self, x: float, y: float, rx: float, ry: float) -> Floats:
        """The soft mask (H, W) of an ellipse."""
        distance = np.sqrt(((self.x - x) / rx) ** 2 + ((self.y - y) / ry) ** 2)
        return np.clip((1 - distance) / 0.08 + 0.5, 0, 1)

    def _window(self, x: float, y: float, rx: float, ry: float) -> tuple[slice, slice]:
        top, bottom = np.searchsorted(self.y[:, 0], (y - ry, y + ry))
        left, right = np.searchsorted(self.x[0], (x - rx, x + rx))
        return slice(int(top), int(bottom)), slice(int(left), int(right))


LETTERS: dict[str, tuple[tuple[Point, Point], ...]] = {
    "L": (((0, 0), (0, 1)), ((0, 1), (0.9, 1))),
    "R": (
        ((0, 0), (0, 1)),
        ((0, 0), (0.8, 0.05)),
        ((0.8, 0.05), (0.8, 0.5)),
        ((0.8, 0.5), (0, 0.5)),
        ((0.2, 0.5), (0.9, 1)),
    ),
}


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], *, cells: int) -> Floats:
    """Smooth noise (H, W) of mean about 0 and deviation about 1, with about `cells` bumps across."""
    coarse = rng.standard_normal((cells, cells), dtype=np.float32)
    return resize(coarse, shape)


def resize(values: Floats, shape: tuple[int, int]) -> Floats:
    """Bicubic resampling to (H, W)."""
    image = Image.fromarray(values).resize((shape[1], shape[0]), Image.Resampling.BICUBIC)
    return np.asarray(image, dtype=np.float32)


def speckle(rng: np.random.Generator, shape: tuple[int, int], *, grain: int = 2) -> Floats:
    """Multiplicative speckle (H, W) of mean 1, with grains `grain` pixels wide."""
    coarse = (max(2, shape[0] // grain), max(2, shape[1] // (2 * grain)))
    noise = np.sqrt(rng.standard_exponential(coarse, dtype=np.float32)) / np.float32(0.886)
    return np.maximum(resize(noise.astype(np.float32), shape), 0)


def finish(pixels: Floats, rng: np.random.Generator, *, noise: float = 0.02) -> NDArray[np.uint8]:
    """Brightness, contrast and noise of the scanner, then 8 bits: (H, W) uint8."""
    grain = rng.standard_normal(pixels.shape, dtype=np.float32) * np.float32(noise)
    scaled = (pixels + grain) * np.float32(rng.uniform(0.9, 1.08)) + np.float32(rng.uniform(-0.02, 0.02))
    return np.asarray(np.clip(scaled, 0, 1) * 255, dtype=np.uint8)


def side_signs(side: str | None) -> tuple[int, ...]:
    """Where the patient's side lies in the picture: left is +1 (right of the picture), right is -1."""
    return {"left": (1,), "right": (-1,), "bilateral": (-1, 1), None: ()}[side]


def _shape(rng: np.random.Generator) -> tuple[int, int]:
    height, width = rng.integers(SHORT, LONG + 1, 2)
    # Anatomy stretched by more than a third no longer looks like anatomy.
    return int(max(height, width * 3 // 4)), int(max(width, height * 3 // 4))
