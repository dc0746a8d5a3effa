"""Untrained miniatures for tests, one per model key, made once a process."""

from functools import cache
from pathlib import Path

from radcap import seeds, settings
from radcap.models.base import LoadedModel
from radcap.models.family import get_family
from radcap.models.initialization import initialize_weights

ROOT = Path(__file__).resolve().parents[1]
TEXTS = ["Axial CT of the chest shows a nodule in the left lung.", "MRI of the brain with a tumor on the right."] * 40

PARAMS = settings.load(ROOT)
KEYS = tuple(PARAMS.models)
LORA_KEYS = tuple(key for key in KEYS if PARAMS.models[key].tuning == "lora")


def fresh(key: str) -> LoadedModel:
    """A newly initialised miniature, the same at every call."""
    seeds.set_seed(1, "test", key, threads=1)
    model = PARAMS.models[key]
    adapter = get_family(model.family)
    untrained, processor = adapter.miniature(model.miniature, TEXTS)
    initialize_weights(untrained)
    return LoadedModel(adapter, untrained, processor)


@cache
def shared(key: str) -> LoadedModel:
    """One miniature for tests that do not change it."""
    loaded = fresh(key)
    loaded.model.eval()
    return loaded
