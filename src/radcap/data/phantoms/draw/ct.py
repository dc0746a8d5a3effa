"""CT: a body slice on black with white cortical bone, organs and the arc of the table."""

import numpy as np
from numpy.typing import NDArray

from radcap.data.phantoms.case import Case, relative_size
from radcap.data.phantoms.draw.canvas import Canvas, finish, side_signs, smooth_noise


def draw(case: Case, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The CT slice of a case, (H, W) uint8."""
    canvas = Canvas(rng)
    parts = {"chest": _chest, "liver": _liver, "kidney": _kidney, "brain": _brain}
    parts[case.anatomy](canvas, case, rng)
    texture = 0.015 * smooth_noise(rng, canvas.shape, cells=24)
    canvas.pixels += np.where(canvas.pixels > 0.1, texture, 0)
    return finish(canvas.pixels, rng, noise=0.025)


def _body(canvas: Canvas, *, vessel: float) -> None:
    spots = [(x, 0.86 - 0.16 * x * x) for x in np.linspace(-0.9, 0.9, 9)]
    canvas.path(spots, 0.018, 0.6)
    canvas.ellipse(0, 0, 0.92, 0.72, 0.24, soft=0.03)
    canvas.ellipse(0, 0, 0.84, 0.64, 0.5, soft=0.04)
    for angle in np.linspace(0, 2 * np.pi, 15)[:-1]:
        canvas.ellipse(0.77 * np.cos(angle), 0.57 * np.sin(angle), 0.075, 0.035, 0.97, turn=angle + np.pi / 2, soft=0.3)
    canvas.ellipse(0, 0.5, 0.05, 0.14, 0.95, soft=0.3)
    canvas.ellipse(0, 0.33, 0.15, 0.12, 0.92, soft=0.15)
    canvas.ellipse(0, 0.46, 0.05, 0.04, 0.45, soft=0.3)
    canvas.ellipse(0.13, 0.16, 0.07, 0.07, vessel, soft=0.15)


def _chest(canvas: Canvas, case: Case, rng: np.random.Generator) -> None:
    vessel = _vessel(case)
    _body(canvas, vessel=vessel)
    pleura = [canvas.ellipse_mask(sign * 0.42, 0.02, 0.31, 0.5) for sign in (-1, 1)]
    for mask in pleura:
        canvas.paint(mask, 0.14)
    for _ in range(16):
        x = rng.choice((-1, 1)) * rng.uniform(0.25, 0.6)
        canvas.ellipse(x, rng.uniform(-0.3, 0.3), 0.02, 0.02, 0.4, soft=0.6)
    canvas.ellipse(0.08, -0.14, 0.26, 0.27, vessel * 0.9, soft=0.15)
    canvas.ellipse(0.13, 0.16, 0.08, 0.08, vessel, soft=0.15)
    for sign in side_signs(case.side):
        mask = pleura[sign > 0]
        if case.finding == "pleural effusion":
            level = rng.uniform(-0.02, 0.08)
            canvas.paint(mask * np.clip((canvas.y - level) / 0.05, 0, 1), 0.56)
        if case.finding == "pneumothorax":
            canvas.paint(mask, 0.0)
            canvas.ellipse(sign * 0.3, 0.2, 0.16, 0.2, 0.45, soft=0.15)
        if case.finding == "nodule":
            radius = 0.13 + 0.08 * relative_size(case)
            canvas.ellipse(sign * 0.44, rng.uniform(-0.12, 0.12), radius, radius, 0.72, soft=0.12)


def _liver(canvas: Canvas, case: Case, rng: np.random.Generator) -> None:
    vessel = _vessel(case)
    _body(canvas, vessel=vessel)
    squeeze = 0.0
    if case.finding == "ascites":
        canvas.ellipse(0, -0.06, 0.74, 0.46, 0.27, soft=0.06)
        squeeze = 0.12
        canvas.ellipse(0, 0.36, 0.18, 0.15, 0.92, soft=0.15)
        canvas.ellipse(0.13, 0.16, 0.07, 0.07, vessel, soft=0.15)
    canvas.ellipse(-0.28 + squeeze / 2, -0.08, 0.45 - squeeze, 0.4 - squeeze, 0.66, soft=0.06)
    canvas.ellipse(0.1, -0.24 + squeeze, 0.3 - squeeze, 0.2 - squeeze / 2, 0.66, soft=0.08)
    canvas.ellipse(0.46 - squeeze / 2, -0.2, 0.16, 0.15, 0.42, soft=0.1)
    canvas.ellipse(0.46 - squeeze / 2, -0.26, 0.13, 0.07, 0.0, soft=0.2)
    canvas.ellipse(0.54 - squeeze / 2, 0.16, 0.17 - squeeze / 3, 0.2 - squeeze / 3, 0.68, soft=0.1)
    for _ in range(5):
        canvas.ellipse(rng.uniform(-0.5, -0.1), rng.uniform(-0.3, 0.1), 0.035, 0.02, vessel, soft=0.4)
    x, y = rng.uniform(-0.38, -0.3), rng.uniform(-0.12, 0.0)
    radius = 0.17 + 0.09 * relative_size(case)
    if case.finding == "abscess":
        canvas.ellipse(x, y, radius + 0.05, radius + 0.05, 0.92, soft=0.1)
        canvas.ellipse(x, y, radius, radius, 0.12, soft=0.12)
    if case.finding == "tumor":
        canvas.ellipse(x, y, radius, radius, 0.95, soft=0.1)
        canvas.ellipse(x + 0.02, y, radius * 0.5, radius * 0.45, 0.8, soft=0.5)


def _kidney(canvas: Canvas, case: Case, rng: np.random.Generator) -> None:
    vessel = _vessel(case)
    _body(canvas, vessel=vessel)
    canvas.ellipse(-0.5, -0.22, 0.2, 0.24, 0.62, soft=0.1)
    for _ in range(9):
        x, y = rng.uniform(-0.2, 0.6), rng.uniform(-0.42, -0.1)
        canvas.ellipse(x, y, 0.09, 0.07, rng.uniform(0.3, 0.6), soft=0.3)
    for sign in (-1, 1):
        finding = case.finding if sign in side_signs(case.side) else None
        _one_kidney(canvas, sign, finding, size=relative_size(case), tissue=0.55 + 0.3 * (vessel - 0.5))


def _one_kidney(canvas: Canvas, sign: int, finding: str | None, *, size: float, tissue: float) -> None:
    x, y = sign * 0.43, 0.2
    canvas.ellipse(x, y, 0.27, 0.27, 0.24, soft=0.1)
    canvas.ellipse(x, y, 0.19, 0.2, tissue + 0.08, soft=0.1)
    canvas.ellipse(x - sign * 0.08, y, 0.08, 0.07, 0.3, soft=0.3)
    if finding == "hydronephrosis":
        canvas.ellipse(x, y, 0.25, 0.26, tissue + 0.08, soft=0.08)
        canvas.ellipse(x - sign * 0.03, y, 0.18, 0.19, 0.08, soft=0.1)
    if finding == "calculus":
        canvas.ellipse(x, y, 0.09 + 0.04 * size, 0.08 + 0.04 * size, 1.0, soft=0.1)
    if finding == "tumor":
        radius = 0.2 + 0.07 * size
        canvas.ellipse(x + sign * 0.04, y - 0.13, radius, radius, 0.88, soft=0.08)
        canvas.ellipse(x + sign * 0.06, y - 0.14, radius * 0.5, radius * 0.5, 0.7, soft=0.5)


def _brain(canvas: Canvas, case: Case, rng: np.random.Generator) -> None:
    canvas.path([(x, 0.75 + 0.2 * (1 - x * x)) for x in np.linspace(-0.75, 0.75, 9)], 0.02, 0.6)
    canvas.ellipse(0, 0, 0.76, 0.88, 0.3, soft=0.03)
    canvas.ellipse(0, 0, 0.73, 0.85, 1.0, soft=0.03)
    canvas.ellipse(0, 0, 0.62, 0.74, 0.46, soft=0.04)
    canvas.line((0, -0.72), (0, 0.72), 0.012, 0.62)
    for sign in (-1, 1):
        canvas.ellipse(sign * 0.11, -0.14, 0.06, 0.2, 0.12, soft=0.2, turn=-sign * 0.3)
        canvas.ellipse(sign * 0.13, 0.26, 0.06, 0.16, 0.12, soft=0.2, turn=sign * 0.4)
    for sign in side_signs(case.side):
        inner = canvas.ellipse_mask(0, 0, 0.61, 0.73)
        if case.finding == "hematoma":
            lens = canvas.ellipse_mask(sign * 0.56, rng.uniform(-0.15, 0.1), 0.26, 0.46)
            canvas.paint(lens * inner, 0.88)
        if case.finding == "infarction":
            wedge = canvas.ellipse_mask(sign * 0.5, rng.uniform(-0.05, 0.15), 0.32, 0.4)
            canvas.paint(wedge * inner, 0.14)


def _vessel(case: Case) -> float:
    return 0.9 if case.technique == "contrast" else 0.5
