"""PET: tracer uptake as blurred dark spots on white; brain, heart, kidneys and bladder are dark by nature."""

import numpy as np
from numpy.typing import NDArray

from radcap.data.phantoms.case import Case, relative_size
from radcap.data.phantoms.draw.canvas import Canvas, finish, resize, side_signs, smooth_noise

# The stretch of the body (top, bottom) that each examination shows, in body coordinates.
FIELDS = {"neck": (-1.0, 0.05), "chest": (-0.85, 0.35), "liver": (-0.45, 0.85)}


def draw(case: Case, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The PET projection of a case, (H, W) uint8, drawn coarse and blurred up: a PET has no sharp edges."""
    full = Canvas(rng)
    height, width = full.shape
    canvas = Canvas(rng, value=0.97, shape=(height // 4, width // 4), jitter=0.5)
    top, bottom = FIELDS[case.anatomy]
    zoom = (bottom - top) / 2
    canvas.x *= max(zoom, 0.62)
    canvas.y[:] = canvas.y * zoom + (top + bottom) / 2
    _body(canvas)
    _uptake(canvas, case, rng)
    canvas.pixels += 0.025 * smooth_noise(rng, canvas.shape, cells=20)
    return finish(resize(canvas.pixels, full.shape), rng, noise=0.008)


def _body(canvas: Canvas) -> None:
    for sign in (-1, 1):
        canvas.line((sign * 0.38, -0.38), (sign * 0.52, 0.45), 0.08, 0.82, soft=0.5)
        canvas.line((sign * 0.16, 0.6), (sign * 0.16, 1.3), 0.13, 0.8, soft=0.5)
    canvas.line((0, -0.7), (0, -0.4), 0.11, 0.78, soft=0.4)
    canvas.ellipse(0, 0.1, 0.38, 0.62, 0.78, soft=0.15)
    canvas.ellipse(0, -0.82, 0.17, 0.19, 0.75, soft=0.2)
    canvas.ellipse(0, -0.86, 0.13, 0.11, 0.1, soft=0.3)
    for sign in (-1, 1):
        canvas.ellipse(sign * 0.19, -0.14, 0.13, 0.24, 0.9, soft=0.3)
        canvas.ellipse(sign * 0.17, 0.32, 0.06, 0.09, 0.35, soft=0.6)
    canvas.ellipse(0.07, 0.0, 0.1, 0.09, 0.4, soft=0.5)
    canvas.ellipse(-0.14, 0.16, 0.2, 0.13, 0.55, soft=0.3)
    canvas.ellipse(0, 0.66, 0.1, 0.07, 0.08, soft=0.4)


def _uptake(canvas: Canvas, case: Case, rng: np.random.Generator) -> None:
    size = relative_size(case)
    for sign in side_signs(case.side):
        if case.finding == "lymphadenopathy":
            for x, y in ((0.11, -0.64), (0.17, -0.54), (0.26, -0.47)):
                canvas.ellipse(sign * x, y + rng.uniform(-0.02, 0.02), 0.06, 0.05, 0.02, soft=0.5)
        if case.finding == "tumor":
            radius = 0.11 + 0.05 * size
            canvas.ellipse(sign * 0.13, rng.uniform(-0.6, -0.54), radius, radius, 0.02, soft=0.4)
        if case.finding == "nodule":
            radius = 0.09 + 0.05 * size
            canvas.ellipse(sign * 0.22, rng.uniform(-0.26, -0.16), radius, radius, 0.02, soft=0.4)
    if case.finding == "lymphadenopathy" and case.side is None:
        for x, y in ((-0.06, -0.3), (0.06, -0.27), (-0.05, -0.17), (0.05, -0.13)):
            canvas.ellipse(x + rng.uniform(-0.01, 0.01), y, 0.06, 0.06, 0.02, soft=0.5)
    if case.finding == "metastasis":
        radius = 0.1 + 0.05 * size
        canvas.ellipse(-0.17, rng.uniform(0.12, 0.18), radius, radius, 0.02, soft=0.4)
