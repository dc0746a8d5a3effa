"""The curated modality concepts of ROCOv2 (Rückert et al. 2024; optical coherence tomography since 2025)."""

from collections.abc import Iterable

MODALITIES = {
    "C0040405": "ct",
    "C1306645": "x-ray",
    "C0024485": "mri",
    "C0041618": "ultrasound",
    "C0002978": "angiography",
    "C0032743": "pet",
    "C1699633": "pet",
    "C0920367": "oct",
}


def modality(cuis: Iterable[str]) -> str:
    """The one modality that the concepts name; "none" or "several" where they do not name just one."""
    modalities = {MODALITIES[cui] for cui in cuis if cui in MODALITIES}
    if len(modalities) > 1:
        return "several"
    return modalities.pop() if modalities else "none"
