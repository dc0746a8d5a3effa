"""Miniatures large enough that a step computes, their adapters, and the batches that every side trains on."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from radcap import seeds, settings
from radcap.adapt.lora import add_lora
from radcap.data import store
from radcap.models.base import Loaded
from radcap.models.family import family
from radcap.models.initial import draw_weights
from radcap.models.inputs import fill
from radcap.train.examples import Examples

# Model of params.yaml -> sizes in place of its miniature's, so that the tower's share of the work beside the language
# model is about the published one (SmolVLM with 17 tiles 3.4, Qwen2-VL at 1,280 tokens 2.0, LLaVA-1.5 0.04).
SIZES: dict[str, dict[str, int]] = {
    "smolvlm_500m": {"image_size": 128, "patch_size": 16, "vision_width": 256, "vision_layers": 12},
    "qwen2_vl_2b": {"image_size": 224, "patch_size": 14, "vision_width": 256, "vision_layers": 8},
    "llava_1_5_7b": {"image_size": 168, "patch_size": 14, "vision_width": 128, "vision_layers": 2},
}
LANGUAGE = {"width": 384, "layers": 4, "heads": 8, "key_value_heads": 4}
# The head's share of the language model's work, too: 15, 18 and 2 per cent.
VOCABULARY = {"smolvlm_500m": 3072, "qwen2_vl_2b": 3584, "llava_1_5_7b": 448}
SENTENCE = "axial coronal sagittal CT MRI of the chest abdomen brain shows a nodule mass in left right lung lobe with"


@dataclass(frozen=True)
class Workload:
    """A model with adapters, and its examples, encoded beforehand."""

    loaded: Loaded
    trainee: Any
    examples: Examples


def workload(key: str, *, strategy: str, tower: bool, rows: int, folder: Path, tiny: bool = False) -> Workload:
    """The same weights, adapters and examples at every call."""
    params = settings.load()
    model = params.models[key]
    seeds.set_seed(1, "benchmark", key, threads=1)
    adapter = family(model.family)
    size = model.miniature if tiny else model.miniature.model_copy(update=SIZES[key] | LANGUAGE)
    texts = [SENTENCE] * 50
    untrained, processor = adapter.miniature(size, texts)
    if not tiny:
        untrained.resize_token_embeddings(max(VOCABULARY[key], len(adapter.tokenizer(processor))))
    draw_weights(untrained)
    loaded = Loaded(adapter, untrained, processor)
    update = {"strategy": strategy, "vision_tower": tower, "r": 16, "alpha": 32, "dropout": 0.0}
    trainee, _ = add_lora(loaded, params.lora.model_copy(update=update), model.published)
    prompt = fill(model.template, params.prompt.instruction)
    examples = Examples(
        loaded, captioned(folder / "rows.arrow", rows), [prompt] * rows, max_caption_tokens=128, cache=True
    )
    for index in range(rows):
        examples[index]
    return Workload(loaded, trainee, examples)


def captioned(path: Path, count: int) -> Any:
    """Noise of several shapes with captions of 8 to 40 words, as ROCOv2's."""
    random = np.random.default_rng(0)
    made = []
    for number in range(count):
        width, height = (int(side) for side in random.integers(160, 320, 2))
        buffer = io.BytesIO()
        Image.fromarray(random.integers(0, 255, (height, width), dtype=np.uint8)).save(buffer, format="PNG")
        text = " ".join(random.choice(SENTENCE.split(), int(random.integers(8, 40))))
        made.append(
            store.Row(
                id=str(number),
                image=buffer.getvalue(),
                caption=text,
                raw_caption=text,
                cuis=(),
                width=width,
                height=height,
                sha256="",
            )
        )
    store.write(path, made)
    return store.read(path)
