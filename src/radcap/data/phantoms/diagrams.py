"""Pretraining material in radiology's words: diagrams that show their facts as coloured symbols.

Published models met these words with pictures. A base that met them without any learns to write them without looking.
Nothing is drawn as radiology shows it, and the facts are such as no phantom has.
"""

import colorsys

import numpy as np
from PIL import Image, ImageDraw

from radcap.data.phantoms.atlas import LRB, PAIRED, SHARES, STUDIES
from radcap.data.phantoms.captions import caption, pick
from radcap.data.phantoms.case import SIZE_STEP_MM, Case
from radcap.data.phantoms.phrases import ANATOMY, FINDINGS, TECHNIQUE, VIEW
from radcap.data.phantoms.shapes import COLOURS, SHAPES, draw_shape

Colour = tuple[int, int, int]

WHITE: Colour = (255, 255, 255)
BACKGROUNDS: dict[str, Colour] = {
    "ct": (15, 15, 15),
    "x-ray": (250, 250, 250),
    "mri": (128, 128, 128),
    "ultrasound": (120, 20, 20),
    "angiography": (20, 110, 40),
    "pet": (25, 40, 140),
    "oct": (225, 190, 30),
}


def _hue(index: int, count: int) -> Colour:
    """One of `count` hues, every other one pale."""
    red, green, blue = colorsys.hsv_to_rgb(index / count, *((0.9, 0.95) if index % 2 else (0.55, 0.75)))
    return int(255 * red), int(255 * green), int(255 * blue)


BODIES = {name: (SHAPES[i % len(SHAPES)], _hue(i, len(ANATOMY))) for i, name in enumerate(ANATOMY)}
# 3 is prime to the number of colours used, and that to the number of shapes: every finding has a mark of its own.
MARKS = {name: (SHAPES[i % len(SHAPES)], tuple(COLOURS.values())[3 * i % 8]) for i, name in enumerate(FINDINGS)}


def draw_diagram(rng: np.random.Generator) -> tuple[Image.Image, str]:
    """A diagram (RGB, 96 to 160 pixels a side) and its caption, in the phantoms' wording."""
    case = sample_unseen_case(rng)
    return _draw(case, rng), caption(case, rng)


def sample_unseen_case(rng: np.random.Generator) -> Case:
    """Facts that no phantom has, so that no split has their caption.

    Modality, anatomy and finding are mixed freely, and mixtures that exist are thrown away: since every caption
    says all three, none equals a phantom's.
    """
    real = {(study.modality, study.anatomy, finding.name) for study in STUDIES for finding in study.findings}
    while True:
        finding = None if rng.random() < 0.1 else pick(rng, tuple(FINDINGS))
        facts = pick(rng, tuple(SHARES)), pick(rng, tuple(ANATOMY)), finding
        if facts not in real:
            return _case(rng, *facts)


def _case(rng: np.random.Generator, modality: str, anatomy: str, finding: str | None) -> Case:
    side = pick(rng, LRB) if rng.random() < 0.6 else None
    size = int(rng.integers(2, 15)) * SIZE_STEP_MM if rng.random() < 0.5 else None
    if finding is None:
        side, size = pick(rng, LRB[:2]) if anatomy in PAIRED else None, None
    view = pick(rng, tuple(VIEW))
    technique = pick(rng, tuple(TECHNIQUE)) if rng.random() < 0.6 else None
    return Case(modality, anatomy, finding, side, size, view, technique)


def _draw(case: Case, rng: np.random.Generator) -> Image.Image:
    """Modality as the background, anatomy as a body, finding as a mark on it, side and size as the mark's.

    As in radiology the patient's left is on the picture's right. View and technique are not shown.
    """
    width, height = (int(side) for side in rng.integers(96, 161, 2))
    image = Image.new("RGB", (width, height), BACKGROUNDS[case.modality])
    pen = ImageDraw.Draw(image)
    least = min(width, height)
    x, y = (0.5 + rng.uniform(-0.03, 0.03, 2)) * (width, height)
    radius = 0.4 * least
    body, colour = BODIES[case.anatomy]
    draw_shape(pen, body, (x, y), radius, colour)
    away = {"left": (0.5,), "right": (-0.5,), "bilateral": (-0.5, 0.5), None: (0.0,)}[case.side]
    if case.finding is not None:
        mark, colour = MARKS[case.finding]
        size = (0.12 + 0.06 * (case.size_mm or 35) / 70) * least
        for part in away:
            draw_shape(pen, mark, (x + part * radius, y), size, colour)
    elif case.side is not None:
        # A side without a finding is a bar.
        middle = x + away[0] * radius
        pen.rectangle((middle - 0.08 * radius, y - 0.3 * radius, middle + 0.08 * radius, y + 0.3 * radius), fill=WHITE)
    return image
