"""The words that captions are made of: forms of every fact, and the templates that join them.

Every form of a fact is a name in `lexicon.csv` plus words that belong to no concept, so that a tagger finds the
fact and nothing else.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Form:
    """A noun as captions use it: `one` takes an article unless `mass`; `many` is its plural."""

    one: tuple[str, ...]
    many: tuple[str, ...] = ()
    mass: bool = False


FINDINGS: dict[str, Form] = {
    "pleural effusion": Form(("pleural effusion",), ("pleural effusions",)),
    "pneumothorax": Form(("pneumothorax",), ("pneumothoraces",)),
    "cardiomegaly": Form(("cardiomegaly",), mass=True),
    "nodule": Form(("nodule", "round nodule"), ("nodules",)),
    "fracture": Form(("fracture", "acute fracture"), ("fractures",)),
    "prosthesis": Form(("prosthesis", "metal prosthesis"), ("prostheses",)),
    "abscess": Form(("abscess",), ("abscesses",)),
    "tumor": Form(("tumor", "tumour", "neoplasm"), ("tumors",)),
    "ascites": Form(("ascites", "free ascites"), mass=True),
    "calculus": Form(("calculus", "stone"), ("calculi", "stones")),
    "hydronephrosis": Form(("hydronephrosis", "marked hydronephrosis"), mass=True),
    "hematoma": Form(("hematoma", "haematoma"), ("hematomas",)),
    "infarction": Form(("infarction", "infarct"), ("infarctions", "infarcts")),
    "stenosis": Form(("stenosis", "severe stenosis"), ("stenoses",)),
    "gallstone": Form(("gallstone",), ("gallstones",)),
    "polyp": Form(("polyp",), ("polyps",)),
    "aneurysm": Form(("aneurysm", "saccular aneurysm"), ("aneurysms",)),
    "occlusion": Form(("occlusion", "complete occlusion"), ("occlusions",)),
    "lymphadenopathy": Form(("lymphadenopathy", "adenopathy"), mass=True),
    "metastasis": Form(("metastasis",), ("metastases",)),
    "retinal detachment": Form(("retinal detachment",), ("retinal detachments",)),
    "macular edema": Form(("macular edema", "macular oedema"), mass=True),
    "drusen": Form(("drusen",), mass=True),
}

# How an anatomy stands before the modality ("renal ultrasound"), and after "of the".
ANATOMY: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "chest": (("chest",), ("chest", "thorax")),
    "lower extremity": (("lower extremity", "lower limb"), ("lower extremity", "lower limb")),
    "pelvis": (("pelvic",), ("pelvis",)),
    "liver": (("liver", "hepatic"), ("liver",)),
    "kidney": (("renal", "kidney"), ("kidney",)),
    "brain": (("brain",), ("brain",)),
    "lumbar spine": (("lumbar spine",), ("lumbar spine",)),
    "gallbladder": (("gallbladder",), ("gallbladder",)),
    "thyroid": (("thyroid",), ("thyroid", "thyroid gland")),
    "carotid artery": (("carotid",), ("carotid artery",)),
    "aorta": (("aortic",), ("aorta",)),
    "neck": (("neck",), ("neck",)),
    "retina": (("retinal",), ("retina",)),
}

MODALITY: dict[str, tuple[str, ...]] = {
    "ct": ("CT", "CT scan", "CT image", "computed tomography", "computed tomography scan"),
    "x-ray": ("X-ray", "radiograph", "X-ray image", "plain radiograph"),
    "mri": ("MRI", "MRI scan", "magnetic resonance imaging", "magnetic resonance image"),
    "ultrasound": ("ultrasound", "ultrasound image", "ultrasonography", "sonogram"),
    "angiography": ("angiography", "angiogram"),
    "pet": ("PET", "PET scan", "PET image", "positron-emission tomography"),
    "oct": ("OCT", "OCT scan", "OCT image", "optical coherence tomography"),
}

VIEW: dict[str, tuple[str, ...]] = {
    "frontal": ("frontal", "anteroposterior", "AP"),
    "axial": ("axial", "transverse"),
    "sagittal": ("sagittal", "mid-sagittal"),
    "longitudinal": ("longitudinal",),
    "transverse": ("transverse", "axial"),
    "coronal": ("coronal",),
}

TECHNIQUE: dict[str, tuple[str, ...]] = {
    "contrast": ("contrast-enhanced", "enhanced"),
    "plain": ("unenhanced", "non-contrast"),
    "t1": ("T1-weighted",),
    "t2": ("T2-weighted",),
    "subtraction": ("digital subtraction",),
}

# {study}: the examination, no article; {it}: the finding with article and side; {be}: the verb that agrees.
FOUND: tuple[str, ...] = (
    "{study} showing {it}{arrow}.",
    "{study} shows {it}{arrow}.",
    "{study} demonstrating {it}{arrow}.",
    "{study} demonstrates {it}{arrow}.",
    "{study} revealing {it}{arrow}.",
    "{study} reveals {it}{arrow}.",
    "{study} with {it}{arrow}.",
    "{study}. There {be} {it}{arrow}.",
    "{study}. Note {it}{arrow}.",
    "{it}{arrow} on {study}.",
    "{it}{arrow} {be} seen on this {study}.",
    "{it} {be} demonstrated by {study}{arrow}.",
    "On this {study}, {it} {be} visible{arrow}.",
)

NORMAL: tuple[str, ...] = (
    "A normal {study}.",
    "{study} showing normal findings.",
    "{study} showing no abnormality.",
    "{study} without any abnormality.",
    "{study} is unremarkable.",
    "{study} was normal.",
    "{study} with a normal appearance.",
    "Unremarkable {study}, without evidence of disease.",
    "No abnormality is seen on this {study}.",
)

TAILS_FOUND: tuple[str, ...] = (
    "The rest of the examination is unremarkable.",
    "No other abnormality is seen.",
    "The remaining structures appear normal.",
    "The finding was known from an earlier examination.",
    "The surrounding structures are preserved.",
    "The image was obtained at the first visit, before any treatment was given.",
    "The patient was referred for further treatment.",
    "These findings were confirmed at surgery and on follow-up imaging three months later.",
)

TAILS_NORMAL: tuple[str, ...] = (
    "No further imaging was needed.",
    "All structures appear normal.",
    "The image was obtained at follow-up.",
    "The patient had no complaints, and a repeated examination three months later gave the same result.",
    "The surrounding structures are preserved.",
)
