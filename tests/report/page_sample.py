"""A small page for tests: three examples, two models, and captions that try to be markup."""

from pathlib import Path
from typing import Any

from radcap.report.page import Gallery, Picture, Run, Section, Table, Written, write
from tests.conftest import png

HOSTILE = '</script><script>document.title="caught"</script><!--<img src=x onerror="document.title=1">&lt; {{script}}'
SVG = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="90pt" height="60pt" viewBox="0 0 90 60"></svg>'
REFERENCES = [
    "Axial CT of the chest shows a 12 mm nodule in the left lung.",
    f"MRI of the brain. {HOSTILE}",
    "Chest X-ray without effusion.",
]
ALPHA = Run(
    model="alpha",
    variant="plain",
    captions=["Axial CT of the chest shows a mass in the left lung.", HOSTILE, "Chest X-ray without effusion."],
    cut=[False, True, False],
    scores={"Overall": [0.5, 0.1, 0.98765], "BLEURT": [None, -0.25, 1.0]},
    concepts=[["C01", "C03"], [], ["C02"]],
)
BASE = Run(model="alpha", variant="base", captions=["a"] * 3, scores={"Overall": [0.0, 0.01, 0.02]})
BETA = Run(model="beta", variant="plain", captions=["", "MRI", "X-ray"], scores={"Overall": [0.2, 0.9, 0.4]})
TABLE = Table(
    header=["Model", "Overall", "Parameters", HOSTILE],
    rows=[["Group"], ["alpha", 0.5291, "1,204.5 M", "x"], ["beta", 0.5, "80.1 M", "10"], ["gamma", None, "n/a", "9"]],
    caption="Of two models",
)


def gallery(**changes: Any) -> Gallery:
    known: dict[str, Any] = {
        "ids": ["case_1", "case_2", "case_3"],
        "references": REFERENCES,
        "images": [png(1), png(2), png(3, size=(900, 600))],
        "modality": ["CT", "MRI", "X-ray"],
        "predicted": [("CT", 0.98), ("CT", 0.5), ("X-ray", 1.0)],
        "concepts": [["C01", "C02"], ["C03"], ["C02"]],
        "names": {"C01": "Chest", "C02": "<b>Nodule</b>"},
        "runs": [ALPHA, BASE, BETA],
        "notes": ["No captions of gamma."],
    }
    return Gallery(**known | changes)


def sections() -> list[Section]:
    prose = f"First.\nStill first.\n\n- one {HOSTILE}\n- two"
    return [
        Section(heading=f"Results {HOSTILE}", parts=[prose, TABLE]),
        # Half a surrogate pair is no character.
        Section(heading="\ud83e", parts=["\ud83e"]),
        Section(heading="Plots", parts=[Picture(data=SVG, alt='a "plot"', caption="Beneath")], level=3),
    ]


def make(out: Path, **changes: Any) -> Written:
    known: dict[str, Any] = {"sections": sections(), "gallery": gallery(), "image_limit_bytes": 10**6}
    return write(out, title="Trial", notes=["Not comparable."], **known | changes)
