"""Drawing: one module per modality, each with `draw(case, rng)` giving (H, W) uint8."""

from importlib import import_module

import numpy as np
from numpy.typing import NDArray

from radcap.data.phantoms.case import Case

MODULES = {
    "ct": "ct",
    "x-ray": "xray",
    "mri": "mri",
    "ultrasound": "ultrasound",
    "angiography": "angiography",
    "pet": "pet",
    "oct": "oct",
}


def draw(case: Case, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The picture of a case, (H, W) uint8 grey levels, about 160 to 256 pixels a side."""
    module = import_module(f"{__name__}.{MODULES[case.modality]}")
    picture: NDArray[np.uint8] = module.draw(case, rng)
    return picture
