"""X-rays: white bones, grey soft tissue, black air; chest, knee (lower extremity) and pelvis."""

import numpy as np
from numpy.typing import NDArray

from radcap.data.phantoms.case import Case, relative_size
from radcap.data.phantoms.draw.canvas import Canvas, finish, side_signs, smooth_noise

METAL = 1.0


def draw(case: Case, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The X-ray of a case, (H, W) uint8."""
    canvas = Canvas(rng, value=0.03)
    {"chest": _chest, "lower extremity": _knee, "pelvis": _pelvis}[case.anatomy](canvas, case, rng)
    canvas.pixels += 0.02 * smooth_noise(rng, canvas.shape, cells=12)
    return finish(canvas.pixels, rng)


def _chest(canvas: Canvas, case: Case, rng: np.random.Generator) -> None:
    canvas.ellipse(0, 0.5, 1.0, 1.35, 0.5, soft=0.06)
    canvas.ellipse(0, -0.95, 0.28, 0.5, 0.55)
    for sign in (-1, 1):
        canvas.ellipse(sign * 0.43, 0.02, 0.36, 0.74, 0.2, soft=0.12, turn=sign * 0.08)
    pleura = canvas.ellipse_mask(-0.43, 0.02, 0.36, 0.74), canvas.ellipse_mask(0.43, 0.02, 0.36, 0.74)
    _ribs(canvas)
    if case.finding == "pneumothorax":
        for sign in side_signs(case.side):
            canvas.paint(pleura[sign > 0], 0.0)
            canvas.ellipse(sign * 0.24, 0.12, 0.13, 0.4, 0.5, soft=0.2)
    _mediastinum(canvas, enlarged=case.finding == "cardiomegaly", rng=rng)
    if case.finding == "pleural effusion":
        for sign in side_signs(case.side):
            level = rng.uniform(0.0, 0.15)
            # The meniscus: the fluid climbs along the outer wall.
            surface = level - 1.2 * np.clip(canvas.x * sign - 0.4, 0, 1) ** 2 * 4
            canvas.paint(pleura[sign > 0] * np.clip((canvas.y - surface) / 0.08, 0, 1), 0.88)
    if case.finding == "nodule":
        for sign in side_signs(case.side):
            radius = 0.15 + 0.08 * relative_size(case)
            canvas.ellipse(sign * rng.uniform(0.42, 0.5), rng.uniform(-0.35, 0.1), radius, radius, 0.92, soft=0.15)


def _ribs(canvas: Canvas) -> None:
    for row in np.linspace(-0.7, 0.7, 8):
        for sign in (-1, 1):
            spots = [(sign * x, row + 0.32 * (x - 0.1) ** 2 - 0.04) for x in (0.1, 0.32, 0.55, 0.8)]
            canvas.path(spots, 0.028, 0.42)


def _mediastinum(canvas: Canvas, *, enlarged: bool, rng: np.random.Generator) -> None:
    for sign in (-1, 1):
        canvas.line((sign * 0.08, -0.66), (sign * 0.72, -0.8), 0.035, 0.72)
        canvas.ellipse(sign * 0.45, 0.98, 0.46, 0.3, 0.68, soft=0.1)
    canvas.ellipse(0, 0, 0.13, 1.0, 0.7, soft=0.3)
    for row in np.linspace(-0.9, 0.9, 10):
        canvas.ellipse(0, row, 0.08, 0.06, 0.8, soft=0.6)
    width = rng.uniform(0.58, 0.64) if enlarged else rng.uniform(0.25, 0.29)
    canvas.ellipse(0.06 if enlarged else 0.1, 0.42, width, 0.4 if enlarged else 0.3, 0.8, soft=0.12)


def _knee(canvas: Canvas, case: Case, rng: np.random.Generator) -> None:
    side = side_signs(case.side)[0]
    canvas.line((0, -1.3), (0, 1.3), 0.52, 0.28, soft=0.15)
    shift = 0.0
    if case.finding == "fracture":
        shift = 0.2 * rng.choice((-1, 1))
    for x, top, bottom, width in ((0.0, -1.3, -0.35, 0.17), (0.0, 0.3, 1.3, 0.15)):
        canvas.line((x, top), (x, bottom), width, 0.8, soft=0.2)
        canvas.line((x, top), (x, bottom), width * 0.5, 0.62, soft=0.8)
    canvas.line((side * 0.38, 0.32), (side * 0.38, 1.3), 0.065, 0.75, soft=0.3)
    for sign in (-1, 1):
        canvas.ellipse(sign * 0.16, -0.18, 0.2, 0.2, 0.78, soft=0.12)
        canvas.ellipse(sign * 0.14, 0.2, 0.2, 0.13, 0.76, soft=0.15)
    if shift:
        _broken_shaft(canvas, shift, at=rng.uniform(-0.72, -0.62))
    if case.finding == "prosthesis":
        canvas.ellipse(0, -0.14, 0.38, 0.24, METAL, soft=0.06)
        canvas.ellipse(0, 0.1, 0.3, 0.06, 0.2, soft=0.2)
        canvas.line((-0.3, 0.22), (0.3, 0.22), 0.06, METAL, soft=0.2)
        canvas.line((0, 0.22), (0, 0.62), 0.08, METAL, soft=0.2)
    canvas.side_marker("L" if side > 0 else "R", side * 0.76 - 0.1, -0.85, 0.34, 0.95)


def _broken_shaft(canvas: Canvas, shift: float, *, at: float) -> None:
    canvas.line((0, at - 0.1), (0, -0.2), 0.3, 0.28, soft=0.2)
    for sign in (-1, 1):
        canvas.ellipse(sign * 0.16, -0.18, 0.2, 0.2, 0.78, soft=0.12)
    canvas.line((0, -1.3), (shift * 0.2, at - 0.14), 0.17, 0.85, soft=0.2)
    canvas.line((shift * 1.3, at + 0.1), (shift * 0.3, -0.3), 0.17, 0.85, soft=0.2)


def _pelvis(canvas: Canvas, case: Case, rng: np.random.Generator) -> None:
    canvas.ellipse(0, 0.1, 1.05, 1.3, 0.3, soft=0.1)
    canvas.line((0, -1.2), (0, -0.5), 0.14, 0.68, soft=0.3)
    for sign in (-1, 1):
        canvas.ellipse(sign * 0.52, -0.38, 0.36, 0.42, 0.72, soft=0.1, turn=sign * 0.5)
        canvas.ellipse(sign * 0.52, -0.4, 0.25, 0.3, 0.52, soft=0.3, turn=sign * 0.5)
        canvas.ellipse(sign * 0.26, 0.36, 0.22, 0.25, 0.72, soft=0.12)
        canvas.ellipse(sign * 0.26, 0.38, 0.12, 0.14, 0.3, soft=0.2)
        _hip(canvas, sign, case.finding if sign in side_signs(case.side) else None, rng)
    canvas.ellipse(0, -0.4, 0.22, 0.34, 0.7, soft=0.2)
    canvas.ellipse(0, 0.0, 0.3, 0.24, 0.32, soft=0.3)


def _hip(canvas: Canvas, sign: int, finding: str | None, rng: np.random.Generator) -> None:
    head, trochanter, shaft = (sign * 0.52, 0.14), (sign * 0.75, 0.32), (sign * 0.72, 1.3)
    canvas.line(trochanter, shaft, 0.11, 0.75, soft=0.2)
    canvas.line(head, trochanter, 0.1, 0.75, soft=0.2)
    canvas.ellipse(*head, 0.15, 0.15, 0.78, soft=0.12)
    if finding == "prosthesis":
        canvas.ellipse(*head, 0.18, 0.18, METAL, soft=0.1)
        canvas.line(head, trochanter, 0.1, METAL, soft=0.2)
        canvas.line(trochanter, (sign * 0.73, 0.85), 0.09, METAL, soft=0.2)
    if finding == "fracture":
        y = rng.uniform(0.5, 0.58)
        canvas.line((sign * 0.72, y + 0.06), (sign * 0.72, 1.3), 0.15, 0.26, soft=0.2)
        canvas.line((sign * 0.84, y + 0.02), (sign * 0.5, 1.3), 0.11, 0.85, soft=0.2)
