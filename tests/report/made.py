"""A made-up workspace: captions, scores and metrics of some models, without training anything."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from radcap import files, layout
from radcap.caption import records
from radcap.metrics.protocols import METRICS, PROTOCOLS, means
from radcap.metrics.raw_scores import write_per_caption
from radcap.report.published import read
from radcap.report.tables.inputs import Inputs
from radcap.settings import Settings
from tests.models_for_tests import PARAMS

PROTOCOL = "as-described"
IDS = [f"IMG_{n:03d}" for n in range(24)]
CUIS = [["C0040405"], ["C0024485", "C0817096"], ["C0041618", "C1", "C2"], []] * 6
TEST = {
    "id": IDS,
    "raw_caption": [f"Reference {n} | of\nimage" for n in range(24)],
    "cuis": CUIS,
}
CLASSIFIER = {"test": {"accuracy": 0.875, "macro_f1": 0.8, "n": 16, "left_out": {"none": 6, "several": 2}}}
MODALITIES = {"ct": 6, "mri": 6, "ultrasound": 6, "none": 6}
# One of each group of the study's Table 4, and two that are told the modality.
KEYS = ("vision_gpt2", "smolvlm_500m", "qwen2_vl_2b", "llava_1_5_7b")
PROMPTED = ("smolvlm_500m", "qwen2_vl_2b")


def settings(*, profile: str = "sample", keys: Sequence[str] = KEYS, **report: object) -> Settings:
    """The project's settings with these models, and quick statistics."""
    few = PARAMS.report.model_copy(update={"resamples": 300, **report})
    models = {key: PARAMS.models[key] for key in keys}
    return PARAMS.model_copy(update={"profile": profile, "models": models, "report": few})


def values(model: str, variant: str) -> dict[str, list[float]]:
    """Scores that tell models and variants apart: later models are better, controls worse, modality a little better."""
    rng = np.random.default_rng(list(f"{model} {variant}".encode()))
    level = 0.3 + 0.1 * KEYS.index(model) + {"modality": 0.02, "base": -0.25, "shuffled": -0.2}.get(variant, 0)
    shared = np.random.default_rng(0).normal(0, 0.05, (len(METRICS), len(IDS)))
    found = level + shared + rng.normal(0, 0.03, shared.shape)
    return {metric: row.tolist() for metric, row in zip(METRICS, found, strict=True)}


def workspace(params: Settings, *, missing: Sequence[str] = ()) -> None:
    """Write what score and generate write, below the working directory. `missing`: metrics that were not scored."""
    for key in params.models:
        variants = ("plain", "base", "shuffled", *(["modality"] if key in PROMPTED else []))
        results = {}
        for variant in variants:
            scored = {name: row for name, row in values(key, variant).items() if name not in missing}
            columns = {f"{p}/{m}": scored.get(m) or [None] * len(IDS) for p in PROTOCOLS for m in METRICS}
            counts = {"candidate_tokens": [9] * len(IDS), "reference_tokens": [3 + n for n in range(len(IDS))]}
            write_per_caption(layout.scores(key) / f"{variant}.parquet", {"id": IDS, **counts, **columns})
            results[variant] = means(scored, PROTOCOLS[PROTOCOL], n=len(IDS))
            if variant != "shuffled":
                finish = ["length", *["end"] * (len(IDS) - 1)]
                made = [caption(i, variant, f"{key} {variant} of {i}", f) for i, f in zip(IDS, finish, strict=True)]
                records.write_captions(layout.captions(key) / f"{variant}.jsonl", made)
        plain = results.pop("plain")
        reasons = {"missing": dict.fromkeys(missing, "no checkpoint")} if missing else {}
        files.write_json(layout.metrics(key), plain | results | reasons)
        files.write_json(layout.scores(key) / "audit.json", audit(key))
        files.write_text(layout.scores(key) / "log.csv", "step,epoch,loss\n1,0.5,2.0\n2,1.0,1.5\n")
    files.write_json(layout.data_report(), prepared())
    files.write_json(layout.METRICS / "modality.json", CLASSIFIER)
    files.write_text(layout.confusion_plot(), "actual,predicted\nct,ct\nmri,ct\nct,ct\n")


def caption(id_: str, variant: str, text: str, finish: str) -> records.Caption:
    """With as many of these fields as captions have."""
    known = {
        "id": id_,
        "variant": variant,
        "raw": text,
        "caption": text,
        "tokens": 9,
        "finish": finish,
        "logprob": -1.0,
    }
    return records.Caption(**{field.name: known[field.name] for field in dataclasses.fields(records.Caption)})


def audit(key: str) -> dict:
    number = KEYS.index(key) + 1
    full = PARAMS.models[key].tuning == "full"
    parts = {"vision": 1000, "connector": 200 * number, "language": 3000, "head": 100}
    total = sum(parts.values())
    trained = total if full else 100 * number**2
    return {
        "variant": "full" if full else "published",
        "trained": trained,
        "total": total,
        "percent": round(100 * trained / total, 4),
        "r": None if full else 8,
        "alpha": None if full else 16,
        "scaling": None if full else 2.0,
        "components": {name: {"trained": 0, "total": size} for name, size in parts.items()},
    }


def prepared() -> dict:
    split = {"rows_in": 25, "rows_out": 24, "quarantined": {"caption is empty": 1}, "modalities": MODALITIES}
    return {"source": "folder", "splits": dict.fromkeys(layout.SPLITS, split)}


def inputs(params: Settings, root: Path) -> Inputs:
    """What the report is made from, without a plan's meta models. `root`: the project's folder."""
    metrics = {key: files.read_json(layout.metrics(key)) for key in params.models}
    audits = {key: files.read_json(layout.scores(key) / "audit.json") for key in params.models}
    sizes = {"vision_gpt2": 239e6, "smolvlm_500m": 507e6, "qwen2_vl_2b": 2209e6, "llava_1_5_7b": 7063e6}
    plan = {"models": {key: {"total": int(sizes[key])} for key in params.models if key in sizes}}
    return Inputs(params, metrics, audits, plan, prepared(), CLASSIFIER, read(root / "reference/published.yaml"))
