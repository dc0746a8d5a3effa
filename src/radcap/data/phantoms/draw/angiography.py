"""Angiography: a tree of contrast-filled vessels, dark on grey, or black on white after subtraction."""

import numpy as np
from numpy.typing import NDArray

from radcap.data.phantoms.case import Case, relative_size
from radcap.data.phantoms.draw.canvas import Canvas, Point, finish, side_signs, smooth_noise

INK = 0.04


def draw(case: Case, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The angiogram of a case, (H, W) uint8."""
    subtracted = case.technique == "subtraction"
    canvas = Canvas(rng, value=0.93 if subtracted else 0.56)
    if not subtracted:
        _bones(canvas, case, rng)
    {"carotid artery": _carotid, "aorta": _aorta}[case.anatomy](canvas, case, rng)
    return finish(canvas.pixels, rng, noise=0.02)


def _bones(canvas: Canvas, case: Case, rng: np.random.Generator) -> None:
    canvas.pixels += 0.07 * smooth_noise(rng, canvas.shape, cells=5)
    middle = -0.75 * side_signs(case.side)[0] if case.side else 0.0
    for y in np.linspace(-0.9, 0.9, 6):
        canvas.ellipse(middle, y, 0.2, 0.12, 0.68, soft=0.2)
    edge = np.clip((np.hypot(canvas.x, canvas.y) - 1.18) / 0.04, 0, 1)
    canvas.paint(edge, 0.02)


def _twig(canvas: Canvas, start: Point, heading: float, width: float, rng: np.random.Generator) -> None:
    """A branch that wanders, thins and forks until it is too thin to see."""
    point = start
    while width > 0.018:
        heading += rng.normal(0, 0.22)
        end = point[0] + 0.15 * np.cos(heading), point[1] + 0.15 * np.sin(heading)
        canvas.line(point, end, width, INK)
        point, width = end, width * 0.86
        if rng.random() < 0.3:
            _twig(canvas, point, heading + rng.choice((-0.7, 0.7)), width * 0.7, rng)


def _vessel(
    canvas: Canvas, start: Point, end: Point, width: float, *, bow: float = 0.0, narrow: float | None = None
) -> None:
    """A vessel bowed sideways by `bow`, narrowed to a thread at the share `narrow` of its course."""
    shares = np.linspace(0, 1, 12 if narrow is None else 30)
    xs = start[0] + (end[0] - start[0]) * shares + bow * np.sin(np.pi * shares)
    ys = start[1] + (end[1] - start[1]) * shares
    widths = np.full_like(shares, width)
    if narrow is not None:
        widths *= 1 - 0.84 * np.exp(-(((shares - narrow) * np.hypot(end[0] - start[0], end[1] - start[1]) / 0.2) ** 4))
    canvas.path(zip(xs.tolist(), ys.tolist(), strict=True), widths.tolist(), INK)


def _carotid(canvas: Canvas, case: Case, rng: np.random.Generator) -> None:
    side = side_signs(case.side)[0]
    fork = side * 0.12, rng.uniform(0.22, 0.32)
    canvas.side_marker("L" if side > 0 else "R", side * 0.72 - 0.1, 0.5, 0.36, INK if case.technique else 0.95)
    _vessel(canvas, (side * 0.05, 1.2), fork, 0.13, bow=0.04)
    outer = side * 0.42, -0.3
    _vessel(canvas, fork, outer, 0.075, bow=side * 0.05)
    for heading in (-1.9, -1.2, -0.6):
        _twig(canvas, outer, heading if side > 0 else np.pi - heading, 0.06, rng)
    top = -side * 0.22, -0.62
    neck = (fork[0] + top[0]) / 2 - side * 0.1, -0.1
    if case.finding == "occlusion":
        _vessel(canvas, fork, (fork[0] - side * 0.08, fork[1] - 0.14), 0.1)
        return
    _vessel(canvas, fork, top, 0.1, bow=-side * 0.1, narrow=0.55 if case.finding == "stenosis" else None)
    for heading in (-2.6, -1.8, -0.9):
        _twig(canvas, top, heading if side > 0 else np.pi - heading, 0.06, rng)
    if case.finding == "aneurysm":
        radius = 0.2 + 0.08 * relative_size(case)
        canvas.ellipse(neck[0] - side * 0.14, neck[1], radius, radius, INK, soft=0.06)


def _aorta(canvas: Canvas, case: Case, rng: np.random.Generator) -> None:
    end = 0.05 if case.finding == "occlusion" else 0.45
    _vessel(canvas, (0, -1.3), (0, end), 0.15, bow=0.02, narrow=0.84 if case.finding == "stenosis" else None)
    for sign in (-1, 1):
        for y, width in ((-0.55, 0.06), (-0.2, 0.075)):
            middle = sign * 0.4, y + 0.08
            _vessel(canvas, (0, y), middle, width)
            _twig(canvas, middle, 0.5 if sign > 0 else np.pi - 0.5, 0.06, rng)
            _twig(canvas, middle, -0.5 if sign > 0 else np.pi + 0.5, 0.05, rng)
        if case.finding != "occlusion":
            _vessel(canvas, (0, end), (sign * 0.45, 1.3), 0.11, bow=sign * 0.06)
            _twig(canvas, (sign * 0.3, 0.85), 1.2 if sign > 0 else np.pi - 1.2, 0.05, rng)
    if case.finding == "aneurysm":
        radius = 0.27 + 0.11 * relative_size(case)
        canvas.ellipse(0.02, 0.16, radius, radius * 1.1, INK, soft=0.06)
