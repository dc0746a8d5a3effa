"""What exists among the phantoms: one table of examinations, findings, sides and sizes.

A new finding is a row here, its names in `lexicon.csv`, its forms in `phrases`, and its shape in a module of
`draw`.
"""

from dataclasses import dataclass

LR = ("left", "right")
LRB = ("left", "right", "bilateral")

# The study's proportions in per cent; its "other" (7.0) is split among the last three.
SHARES = {
    "ct": 35.1,
    "x-ray": 27.3,
    "mri": 15.9,
    "ultrasound": 14.7,
    "angiography": 3.0,
    "pet": 2.0,
    "oct": 2.0,
}

# The body regions that ROCOv2's curators mark, on X-rays alone.
REGIONS = frozenset({"chest", "lower extremity", "pelvis"})
PAIRED = frozenset({"lower extremity", "kidney", "carotid artery"})


@dataclass(frozen=True)
class Finding:
    """A finding (None: normal), the sides it may take and its size range in mm."""

    name: str | None
    sides: tuple[str, ...] = ()
    sizes: tuple[int, int] | None = None


@dataclass(frozen=True)
class Study:
    """One kind of examination: what is looked at, in which view, in which techniques, and what may be found."""

    modality: str
    anatomy: str
    view: str | None
    techniques: tuple[str | None, ...]
    findings: tuple[Finding, ...]


def _study(
    modality: str, anatomy: str, view: str | None, *findings: Finding, techniques: tuple[str | None, ...] = (None,)
) -> Study:
    return Study(modality, anatomy, view, techniques, findings)


ENHANCED = ("contrast", "plain")
WEIGHTED = ("t1", "t2")
NORMAL = Finding(None)
NORMAL_LR = Finding(None, LR)

STUDIES: tuple[Study, ...] = (
    _study(
        "x-ray",
        "chest",
        "frontal",
        NORMAL,
        Finding("pleural effusion", LRB),
        Finding("pneumothorax", LR),
        Finding("cardiomegaly"),
        Finding("nodule", LR, (20, 45)),
    ),
    _study("x-ray", "lower extremity", "frontal", NORMAL_LR, Finding("fracture", LR), Finding("prosthesis", LR)),
    _study("x-ray", "pelvis", "frontal", NORMAL, Finding("fracture", LR), Finding("prosthesis", LRB)),
    _study(
        "ct",
        "chest",
        "axial",
        NORMAL,
        Finding("pleural effusion", LRB),
        Finding("pneumothorax", LR),
        Finding("nodule", LR, (20, 45)),
        techniques=ENHANCED,
    ),
    _study(
        "ct",
        "liver",
        "axial",
        NORMAL,
        Finding("abscess", (), (40, 70)),
        Finding("tumor", (), (40, 70)),
        Finding("ascites"),
        techniques=ENHANCED,
    ),
    _study(
        "ct",
        "kidney",
        "axial",
        NORMAL,
        Finding("calculus", LRB, (15, 25)),
        Finding("hydronephrosis", LRB),
        Finding("tumor", LR, (40, 70)),
        techniques=ENHANCED,
    ),
    _study("ct", "brain", "axial", NORMAL, Finding("hematoma", LR), Finding("infarction", LR)),
    _study(
        "mri",
        "brain",
        "axial",
        NORMAL,
        Finding("tumor", LR, (30, 50)),
        Finding("abscess", LR, (30, 50)),
        Finding("infarction", LR),
        techniques=WEIGHTED,
    ),
    _study(
        "mri",
        "lumbar spine",
        "sagittal",
        NORMAL,
        Finding("fracture"),
        Finding("stenosis"),
        Finding("tumor", (), (25, 40)),
        techniques=WEIGHTED,
    ),
    _study(
        "ultrasound",
        "gallbladder",
        "longitudinal",
        NORMAL,
        Finding("gallstone", (), (15, 30)),
        Finding("polyp", (), (10, 15)),
    ),
    _study(
        "ultrasound",
        "kidney",
        "longitudinal",
        NORMAL_LR,
        Finding("hydronephrosis", LR),
        Finding("calculus", LR, (15, 25)),
    ),
    _study("ultrasound", "thyroid", "transverse", NORMAL, Finding("nodule", LRB, (15, 30))),
    _study(
        "angiography",
        "carotid artery",
        "frontal",
        NORMAL_LR,
        Finding("stenosis", LR),
        Finding("aneurysm", LR, (10, 20)),
        Finding("occlusion", LR),
        techniques=(None, "subtraction"),
    ),
    _study(
        "angiography",
        "aorta",
        "frontal",
        NORMAL,
        Finding("stenosis"),
        Finding("aneurysm", (), (45, 70)),
        Finding("occlusion"),
        techniques=(None, "subtraction"),
    ),
    _study("pet", "neck", "coronal", NORMAL, Finding("lymphadenopathy", LRB), Finding("tumor", LR, (25, 40))),
    _study("pet", "chest", "coronal", NORMAL, Finding("nodule", LR, (20, 45)), Finding("lymphadenopathy")),
    _study("pet", "liver", "coronal", NORMAL, Finding("metastasis", (), (30, 50))),
    _study(
        "oct",
        "retina",
        None,
        NORMAL,
        Finding("retinal detachment"),
        Finding("macular edema"),
        Finding("drusen"),
    ),
)
