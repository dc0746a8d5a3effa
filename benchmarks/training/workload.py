"""The models and examples of benchmarks/train.py: enlarged miniatures, so that a step is mostly computation."""

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
from radcap.models.base import LoadedModel
from radcap.models.family import get_family
from radcap.models.initialization import initialize_weights
from radcap.models.inputs import fill_template
from radcap.train.examples import Examples

# Sizes that replace those of the miniature in params.yaml, so that the ratio of the tower's work to the language
# model's is about that of the published model (SmolVLM with 17 tiles 3.4, Qwen2-VL with 1,280 tokens 2.0, LLaVA-1.5
# 0.04).
SIZES: dict[str, dict[str, int]] = {
    "smolvlm_500m": {"image_size": 128, "patch_size": 16, "vision_width": 256, "vision_layers": 12},
    "qwen2_vl_2b": {"image_size": 224, "patch_size": 14, "vision_width": 256, "vision_layers": 8},
    "llava_1_5_7b": {"image_size": 168, "patch_size": 14, "vision_width": 128, "vision_layers": 2},
}
LANGUAGE = {"width": 384, "layers": 4, "heads": 8, "key_value_heads": 4}
# Likewise for the head's share of the language model's work: 15, 18 and 2 percent.
VOCABULARY = {"smolvlm_500m": 3072, "qwen2_vl_2b": 3584, "llava_1_5_7b": 448}
SENTENCE = "axial coronal sagittal CT MRI of the chest abdomen brain shows a nodule mass in left right lung lobe with"


@dataclass(frozen=True)
class Workload:
    """A base model, the same with adapters, and its encoded examples."""

    loaded: LoadedModel
    model: Any
    examples: Examples


def workload(key: str, *, strategy: str, tower: bool, rows: int, folder: Path, tiny: bool = False) -> Workload:
    """The same weights, adapters and examples in every call. `tower`: whether the vision tower has adapters, too."""
    params = settings.load()
    block = params.models[key]
    seeds.set_seed(1, "benchmark", key, threads=1)
    model_family = get_family(block.family)
    size = block.miniature if tiny else block.miniature.model_copy(update=SIZES[key] | LANGUAGE)
    texts = [SENTENCE] * 50
    untrained, processor = model_family.miniature(size, texts)
    if not tiny:
        untrained.resize_token_embeddings(max(VOCABULARY[key], len(model_family.tokenizer(processor))))
    initialize_weights(untrained)
    loaded = LoadedModel(model_family, untrained, processor)
    update = {"strategy": strategy, "vision_tower": tower, "r": 16, "alpha": 32, "dropout": 0.0}
    model, _ = add_lora(loaded, params.lora.model_copy(update=update), block.published)
    prompt = fill_template(block.template, params.prompt.instruction)
    examples = Examples(
        loaded, captioned_noise(folder / "rows.arrow", rows), [prompt] * rows, max_caption_tokens=128, cache=True
    )
    for index in range(rows):
        examples[index]
    return Workload(loaded, model, examples)


def captioned_noise(path: Path, count: int) -> Any:
    """Images of noise in several sizes, with captions of 8 to 40 words, as in ROCOv2."""
    random = np.random.default_rng(0)
    rows = []
    for number in range(count):
        width, height = (int(side) for side in random.integers(160, 320, 2))
        buffer = io.BytesIO()
        Image.fromarray(random.integers(0, 255, (height, width), dtype=np.uint8)).save(buffer, format="PNG")
        text = " ".join(random.choice(SENTENCE.split(), int(random.integers(8, 40))))
        rows.append(
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
    store.write(path, rows)
    return store.read(path)
