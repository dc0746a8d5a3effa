"""OCT: the retina as bands across the picture, with the foveal pit in the middle."""

import numpy as np
from numpy.typing import NDArray

from radcap.data.phantoms.case import Case
from radcap.data.phantoms.draw.canvas import Canvas, Floats, finish, smooth_noise, speckle

# Depth within the retina (0: inner surface, 1: pigment epithelium) and brightness there.
DEPTHS = (0.0, 0.06, 0.2, 0.26, 0.4, 0.46, 0.55, 0.62, 0.8, 0.83, 0.9, 0.93, 1.0)
LEVELS = (0.85, 0.8, 0.5, 0.5, 0.28, 0.5, 0.5, 0.22, 0.22, 0.6, 0.35, 0.95, 1.0)


def draw(case: Case, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The B-scan of a case, (H, W) uint8."""
    canvas = Canvas(rng, value=0.04)
    floor = 0.3 + 0.12 * canvas.x**2 + rng.uniform(-0.06, 0.06) * canvas.x
    lift, thickness, bumps = _shape(canvas, case, rng)
    bottom = floor - lift
    surface = bottom - thickness
    _retina(canvas, surface, bottom)
    pigment = floor - bumps
    _choroid(canvas, pigment, drusen=bumps)
    if case.finding == "macular edema":
        _cysts(canvas, float(floor.mean()), rng)
    canvas.pixels *= 0.3 + 0.7 * speckle(rng, canvas.shape, grain=1)
    canvas.pixels += 0.01 * smooth_noise(rng, canvas.shape, cells=20)
    return finish(canvas.pixels, rng, noise=0.03)


def _shape(canvas: Canvas, case: Case, rng: np.random.Generator) -> tuple[Floats, Floats, Floats]:
    """Per column (1, W): how far the retina is lifted, how thick it is, how high the drusen are."""
    x = canvas.x - rng.uniform(-0.08, 0.08)
    hill = np.exp(-((x / 0.5) ** 2))
    pit = 0.28 * np.exp(-((x / 0.2) ** 2))
    lift, bumps = np.zeros_like(x), np.zeros_like(x)
    thickness = 0.55 - pit + 0.05 * hill
    if case.finding == "retinal detachment":
        lift = rng.uniform(0.4, 0.48) * np.exp(-((x / 0.55) ** 4))
    if case.finding == "macular edema":
        thickness = 0.55 + 0.42 * hill
    if case.finding == "drusen":
        for centre in (-0.66, -0.22, 0.22, 0.66):
            bumps = bumps + 0.24 * np.exp(-(((x - centre - rng.uniform(-0.04, 0.04)) / 0.12) ** 2))
        # The retina rides over the drusen.
        lift, thickness = bumps * 0.8, thickness + 0.1 * pit
    return lift, thickness, bumps


def _retina(canvas: Canvas, surface: Floats, bottom: Floats) -> None:
    depth = (canvas.y - surface) / (bottom - surface)
    inside = np.clip((canvas.y - surface) / 0.02, 0, 1) * np.clip((bottom - canvas.y) / 0.02, 0, 1)
    canvas.paint(inside, np.interp(depth, DEPTHS, LEVELS).astype(np.float32))


def _choroid(canvas: Canvas, pigment: Floats, *, drusen: Floats) -> None:
    below = canvas.y - pigment
    fade = 0.62 * np.exp(-np.clip(below, 0, None) / 0.3)
    mask = np.clip(below / 0.02, 0, 1)
    canvas.paint(mask, fade)
    line = np.clip(1 - np.abs(below) / 0.045, 0, 1)
    canvas.paint(line, 1.0)
    core = np.clip((drusen - 0.08) / 0.04, 0, 1) * mask * np.clip((drusen - below) / 0.04, 0, 1)
    canvas.paint(core, 0.75)


def _cysts(canvas: Canvas, floor: float, rng: np.random.Generator) -> None:
    for x, rx, ry in ((-0.34, 0.13, 0.15), (-0.02, 0.17, 0.24), (0.32, 0.13, 0.15)):
        canvas.ellipse(x + rng.uniform(-0.04, 0.04), floor - 0.46, rx, ry, 0.02, soft=0.12)
