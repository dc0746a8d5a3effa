"""MRI: smooth soft-tissue contrast, white scalp or fat rim; brain (axial) and lumbar spine (sagittal)."""

import numpy as np
from numpy.typing import NDArray

from radcap.data.phantoms.case import Case, relative_size
from radcap.data.phantoms.draw.canvas import Canvas, finish, side_signs, smooth_noise


def draw(case: Case, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The MR picture of a case, (H, W) uint8; fluid is dark on T1 and white on T2."""
    canvas = Canvas(rng, value=0.01)
    fluid = 0.95 if case.technique == "t2" else 0.06
    {"brain": _brain, "lumbar spine": _spine}[case.anatomy](canvas, case, rng, fluid)
    # The coil's uneven sensitivity.
    canvas.pixels *= 1 + 0.05 * smooth_noise(rng, canvas.shape, cells=4)
    return finish(canvas.pixels, rng, noise=0.015)


def _brain(canvas: Canvas, case: Case, rng: np.random.Generator, fluid: float) -> None:
    canvas.ellipse(0, 0, 0.8, 0.92, 0.85, soft=0.06)
    canvas.ellipse(0, 0, 0.72, 0.84, 0.05, soft=0.05)
    brain = canvas.ellipse_mask(0, 0, 0.66, 0.78)
    folds = np.abs(smooth_noise(rng, canvas.shape, cells=15))
    rim = np.clip((canvas.x / 0.66) ** 2 + (canvas.y / 0.78) ** 2 - 0.35, 0, 1)
    canvas.paint(brain, 0.5)
    canvas.paint(brain * np.clip(1.2 * rim * np.clip(1 - 3 * folds, 0, 1), 0, 1), 0.5 * fluid + 0.2)
    canvas.ellipse(0, 0, 0.42, 0.52, 0.4 if fluid > 0.5 else 0.62, soft=0.5)
    canvas.line((0, -0.76), (0, 0.76), 0.015, 0.5 * fluid + 0.15)
    for sign in (-1, 1):
        canvas.ellipse(sign * 0.1, -0.16, 0.07, 0.24, fluid, soft=0.3, turn=-sign * 0.35)
        canvas.ellipse(sign * 0.14, 0.22, 0.07, 0.2, fluid, soft=0.3, turn=sign * 0.5)
        canvas.ellipse(sign * 0.2, 0.02, 0.1, 0.13, 0.52, soft=0.5)
    for sign in side_signs(case.side):
        _lesion(canvas, case, rng, sign, fluid)


def _lesion(canvas: Canvas, case: Case, rng: np.random.Generator, sign: int, fluid: float) -> None:
    x, y = sign * rng.uniform(0.34, 0.38), rng.uniform(-0.3, 0.25)
    radius = 0.17 + 0.08 * relative_size(case)
    if case.finding == "tumor":
        canvas.ellipse(x, y, radius + 0.09, radius + 0.09, 0.3, soft=0.5)
        canvas.ellipse(x, y, radius, radius, 1.0, soft=0.12)
    if case.finding == "abscess":
        canvas.ellipse(x, y, radius + 0.06, radius + 0.06, 1.0, soft=0.1)
        canvas.ellipse(x, y, radius - 0.02, radius - 0.02, 0.05, soft=0.15)
    if case.finding == "infarction":
        wedge = canvas.ellipse_mask(sign * 0.52, y * 0.5, 0.34, 0.42) * canvas.ellipse_mask(0, 0, 0.64, 0.76)
        canvas.paint(wedge, 0.82 if fluid > 0.5 else 0.14)


def _spine(canvas: Canvas, case: Case, rng: np.random.Generator, fluid: float) -> None:
    canvas.paint(np.clip((0.85 - np.abs(canvas.x)) / 0.05, 0, 1) + 0 * canvas.y, 0.26)
    canvas.pixels += 0.04 * smooth_noise(rng, canvas.shape, cells=10)
    rows = np.linspace(-1.1, 1.1, 45)
    canvas.path([(_curve(y) + 0.72, y) for y in rows], 0.1, 0.88)
    canvas.path([(_curve(y) + 0.28, y) for y in rows], 0.13, fluid)
    canvas.path([(_curve(y) + 0.27, y) for y in rows if y < 0.25], 0.035, 0.5)
    collapsed = rng.integers(2, 4) if case.finding == "fracture" else -1
    levels = np.linspace(-0.92, 0.92, 6)
    for level, y in enumerate(levels):
        _vertebra(canvas, float(y), collapsed=level == collapsed, fluid=fluid)
        canvas.ellipse(_curve(y) + 0.56, y + 0.06, 0.12, 0.06, 0.4, soft=0.3, turn=0.4)
    if case.finding == "stenosis":
        _pinch(canvas, float(levels[2] + levels[3]) / 2)
    if case.finding == "tumor":
        y, radius = float(rng.choice(levels[1:5])), 0.18 + 0.07 * relative_size(case)
        canvas.ellipse(_curve(y) + 0.04, y, radius, radius, 1.0, soft=0.12)


def _curve(y: float) -> float:
    return -0.28 + 0.22 * y * y


def _vertebra(canvas: Canvas, y: float, *, collapsed: bool, fluid: float) -> None:
    x = _curve(y)
    half = 0.08 if collapsed else 0.13
    u, v = (canvas.x - x) / 0.24, (canvas.y - y) / half
    # A collapsed vertebra is a wedge: its front (left of the picture) is lower than its back.
    v = v / np.clip(0.75 + 0.5 * u, 0.2, 2) if collapsed else v
    block = np.clip((1 - np.sqrt(np.sqrt(u**4 + v**4))) / 0.15 + 0.5, 0, 1)
    canvas.paint(block, 0.06 if collapsed else 0.62)
    canvas.ellipse(x, y + 0.185, 0.2, 0.035, 0.2 if fluid < 0.5 else 0.5, soft=0.4)


def _pinch(canvas: Canvas, y: float) -> None:
    x = _curve(y) + 0.28
    canvas.ellipse(x, y, 0.22, 0.17, 0.3, soft=0.15)
    canvas.ellipse(x - 0.2, y, 0.17, 0.1, 0.1, soft=0.2)
    canvas.ellipse(x + 0.16, y, 0.13, 0.15, 0.1, soft=0.2)
