"""Pretraining material in everyday words: pictures of coloured shapes."""

import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

from radcap.data.phantoms.captions import pick

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (214, 40, 40),
    "green": (40, 160, 70),
    "blue": (40, 80, 210),
    "yellow": (240, 205, 40),
    "orange": (240, 130, 30),
    "purple": (130, 50, 160),
    "black": (15, 15, 15),
    "white": (250, 250, 250),
    "gray": (128, 128, 128),
}
BACKGROUNDS = ("white", "black", "gray")
# A published vision tower knows textures too.
TEXTURES = ("plain", "striped", "speckled", "shaded")
CORNERS = {"triangle": (3, 1.0), "square": (4, 1.0), "star": (10, 0.42), "hexagon": (6, 1.0)}
SHAPES = ("circle", *CORNERS)
SIZES = {"small": 0.12, "large": 0.21}
NUMBERS = {2: "two", 3: "three", 4: "four"}
RELATIONS: dict[str, tuple[tuple[float, float], tuple[float, float]]] = {
    "to the left of": ((0.27, 0.5), (0.73, 0.5)),
    "to the right of": ((0.73, 0.5), (0.27, 0.5)),
    "above": ((0.5, 0.27), (0.5, 0.73)),
    "below": ((0.5, 0.73), (0.5, 0.27)),
}
PLACES: dict[str, tuple[float, float]] = {
    "in the centre": (0.5, 0.5),
    "on the left": (0.25, 0.5),
    "on the right": (0.75, 0.5),
    "at the top": (0.5, 0.25),
    "at the bottom": (0.5, 0.75),
}

Placed = tuple[str, str, str, tuple[float, float]]


def draw_scene(rng: np.random.Generator) -> tuple[Image.Image, str]:
    """A general picture (RGB, 96 to 160 pixels a side) and its caption."""
    scenes: tuple[Callable[[np.random.Generator, list[str]], tuple[list[Placed], str]], ...] = (
        _one,
        _two,
        _several,
    )
    background = pick(rng, BACKGROUNDS)
    colours = [colour for colour in COLOURS if colour != background]
    placed, text = scenes[rng.choice(3, p=(0.55, 0.3, 0.15))](rng, colours)
    texture = pick(rng, TEXTURES)
    image = _ground((int(rng.integers(96, 161)), int(rng.integers(96, 161))), COLOURS[background], texture, rng)
    pen = ImageDraw.Draw(image)
    for size, colour, name, place in placed:
        x, y = (np.array(place) + rng.uniform(-0.03, 0.03, 2)) * image.size
        draw_shape(pen, name, (x, y), SIZES[size] * min(image.size), COLOURS[colour])
    return image, f"{text} on a {texture} {background} background."


def _ground(size: tuple[int, int], colour: tuple[int, int, int], texture: str, rng: np.random.Generator) -> Image.Image:
    """A background of the colour, lightened and darkened by its texture."""
    across, down = np.meshgrid(np.linspace(0, 1, size[0]), np.linspace(0, 1, size[1]))
    angle = rng.uniform(0, math.pi)
    along = across * math.cos(angle) + down * math.sin(angle)
    waves = {
        "plain": np.zeros_like(along),
        "striped": np.sign(np.sin(along * rng.uniform(30, 60))),
        "speckled": rng.standard_normal(along.shape),
        "shaded": 2 * along - along.max(),
    }
    shades = np.array(colour) * 0.7 + 38 + 35 * waves[texture][..., None]
    return Image.fromarray(shades.clip(0, 255).astype(np.uint8))


def _one(rng: np.random.Generator, colours: list[str]) -> tuple[list[Placed], str]:
    size, colour, name = _thing(rng, colours)
    place = pick(rng, tuple(PLACES))
    return [(size, colour, name, PLACES[place])], f"A {size} {colour} {name} {place}"


def _two(rng: np.random.Generator, colours: list[str]) -> tuple[list[Placed], str]:
    first, second = _thing(rng, colours), _thing(rng, colours)
    relation = pick(rng, tuple(RELATIONS))
    here, there = RELATIONS[relation]
    text = f"A {' '.join(first)} {relation} a {' '.join(second)}"
    return [(*first, here), (*second, there)], text


def _several(rng: np.random.Generator, colours: list[str]) -> tuple[list[Placed], str]:
    _, colour, name = _thing(rng, colours)
    count = int(rng.integers(2, 5))
    places = [
        (0.5 + 0.27 * math.cos(k * math.tau / count), 0.5 + 0.27 * math.sin(k * math.tau / count)) for k in range(count)
    ]
    return [("small", colour, name, place) for place in places], f"{NUMBERS[count].capitalize()} small {colour} {name}s"


def _thing(rng: np.random.Generator, colours: list[str]) -> tuple[str, str, str]:
    return pick(rng, tuple(SIZES)), pick(rng, tuple(colours)), pick(rng, SHAPES)


def draw_shape(
    pen: ImageDraw.ImageDraw, name: str, centre: tuple[float, float], radius: float, fill: tuple[int, int, int]
) -> None:
    """Draw one of SHAPES; centre and radius in pixels."""
    x, y = centre
    if name == "circle":
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)
        return
    corners, dent = CORNERS[name]
    start = math.pi / 4 if name == "square" else -math.pi / 2
    turns = [(start + k * math.tau / corners, radius * (dent if k % 2 else 1.0)) for k in range(corners)]
    pen.polygon([(x + r * math.cos(t), y + r * math.sin(t)) for t, r in turns], fill=fill)
