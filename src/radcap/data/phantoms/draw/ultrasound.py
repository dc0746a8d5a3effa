"""Ultrasound: a speckled fan on black, dark fluid, white stones with a shadow below them."""

import numpy as np
from numpy.typing import NDArray

from radcap.data.phantoms.case import Case, relative_size
from radcap.data.phantoms.draw.canvas import Canvas, Floats, finish, side_signs, smooth_noise, speckle

APEX = -1.35


def draw(case: Case, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The ultrasound picture of a case, (H, W) uint8."""
    canvas = Canvas(rng, value=0.36, jitter=0.6)
    canvas.pixels += 0.05 * smooth_noise(rng, canvas.shape, cells=8)
    parts = {"gallbladder": _gallbladder, "kidney": _kidney, "thyroid": _thyroid}
    parts[case.anatomy](canvas, case, rng)
    canvas.pixels *= 0.25 + 0.75 * speckle(rng, canvas.shape)
    canvas.pixels *= _fan(canvas)
    for depth in np.linspace(-0.8, 0.9, 8):
        canvas.line((0.95, depth), (0.99, depth), 0.012, 0.7)
    return finish(canvas.pixels, rng, noise=0.012)


def _fan(canvas: Canvas) -> Floats:
    radius = np.hypot(canvas.x, canvas.y - APEX)
    angle = np.abs(np.arctan2(canvas.x, canvas.y - APEX))
    inside = np.clip((0.62 - angle) / 0.015, 0, 1) * np.clip((radius - 0.45) / 0.02, 0, 1)
    return np.asarray(inside * np.clip((2.28 - radius) / 0.02, 0, 1) * (1.12 - 0.12 * radius), dtype=np.float32)


def _shadow(canvas: Canvas, x: float, y: float, width: float) -> None:
    """The black wedge below a stone, away from the probe."""
    slope = x / (y - APEX)
    centre, spread = x + slope * (canvas.y - y), width * (canvas.y - APEX) / (y - APEX)
    wedge = np.clip((spread - np.abs(canvas.x - centre)) / 0.03, 0, 1) * np.clip((canvas.y - y) / 0.04, 0, 1)
    canvas.pixels *= 1 - 0.93 * wedge


def _gallbladder(canvas: Canvas, case: Case, rng: np.random.Generator) -> None:
    x, y, turn = rng.uniform(-0.06, 0.06), rng.uniform(-0.08, 0.05), rng.uniform(-0.35, -0.15)
    canvas.ellipse(x, y, 0.62, 0.34, 0.75, soft=0.06, turn=turn)
    canvas.ellipse(x, y, 0.58, 0.3, 0.03, soft=0.06, turn=turn)
    _glow(canvas, x, y + 0.6, width=0.4)
    size = relative_size(case)
    if case.finding == "gallstone":
        radius = 0.13 + 0.07 * size
        canvas.ellipse(x, y + 0.26 - radius, radius, radius, 1.0, soft=0.15)
        _shadow(canvas, x, y + 0.3 - radius, radius)
        canvas.ellipse(x, y + 0.22 - radius, radius, radius * 0.8, 1.0, soft=0.15)
    if case.finding == "polyp":
        canvas.ellipse(x + 0.02, y - 0.16, 0.13 + 0.03 * size, 0.14 + 0.03 * size, 0.7, soft=0.15)


def _glow(canvas: Canvas, x: float, y: float, *, width: float) -> None:
    canvas.paint(canvas.ellipse_mask(x, y, width, 0.28) * 0.5, 0.8)


def _kidney(canvas: Canvas, case: Case, rng: np.random.Generator) -> None:
    side = side_signs(case.side)[0]
    # The neighbour tells the side: the liver lies before the right kidney, the spleen before the left one.
    canvas.ellipse(side * 0.42, -0.6, 0.52, 0.42, 0.62, soft=0.1, turn=side * 0.5)
    x, y, turn = -side * 0.05, rng.uniform(0.12, 0.2), side * 0.12
    canvas.ellipse(x, y, 0.6, 0.37, 0.6, soft=0.06, turn=turn)
    canvas.ellipse(x, y, 0.57, 0.34, 0.2, soft=0.08, turn=turn)
    canvas.ellipse(x, y, 0.3, 0.13, 0.85, soft=0.4, turn=turn)
    if case.finding == "hydronephrosis":
        for shift, radius in ((-0.24, 0.19), (0.0, 0.25), (0.24, 0.19)):
            canvas.ellipse(x + shift, y, radius, radius, 0.4, soft=0.1)
        for shift, radius in ((-0.24, 0.15), (0.0, 0.21), (0.24, 0.15)):
            canvas.ellipse(x + shift, y, radius, radius, 0.0, soft=0.1)
    if case.finding == "calculus":
        radius = 0.1 + 0.05 * relative_size(case)
        canvas.ellipse(x, y, 0.4, 0.2, 0.25, soft=0.4, turn=turn)
        _shadow(canvas, x, y, radius * 1.1)
        canvas.ellipse(x, y - 0.02, radius * 1.2, radius * 0.8, 1.0, soft=0.15)


def _thyroid(canvas: Canvas, case: Case, rng: np.random.Generator) -> None:
    canvas.ellipse(0, -0.75, 0.8, 0.16, 0.18, soft=0.3)
    canvas.ellipse(0, -0.32, 0.22, 0.12, 0.72, soft=0.15)
    for sign in (-1, 1):
        canvas.ellipse(sign * 0.38, -0.12, 0.28, 0.36, 0.75, soft=0.08, turn=-sign * 0.15)
        canvas.ellipse(sign * 0.78, 0.05, 0.13, 0.14, 0.02, soft=0.1)
    canvas.ellipse(0, 0.02, 0.16, 0.2, 0.9, soft=0.1)
    canvas.ellipse(0, 0.06, 0.14, 0.19, 0.03, soft=0.1)
    _shadow(canvas, 0, 0.05, 0.13)
    for sign in side_signs(case.side):
        radius = 0.15 + 0.07 * relative_size(case)
        x, y = sign * rng.uniform(0.36, 0.42), rng.uniform(-0.18, -0.04)
        canvas.ellipse(x, y, radius + 0.03, radius + 0.03, 0.9, soft=0.1)
        canvas.ellipse(x, y, radius, radius, 0.1, soft=0.1)
