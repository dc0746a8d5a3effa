"""How many captions bfloat16 leaves alone: near ties of tokens fall otherwise when a batch's shape rounds otherwise."""

from __future__ import annotations

from radcap import layout, settings
from radcap.adapt.storage import load_fine_tuned
from radcap.caption.generate import generate_captions
from radcap.caption.search import DecodingOptions
from radcap.caption.variants import labelled_variant
from radcap.data import store

BATCHES = (1, 4, 16)


def equal_captions(params: settings.Settings, key: str, *, images: int, decoding: DecodingOptions) -> list[str]:
    """Of a model's captions in bfloat16: how many are the same at batch 4 and 16 as at 1, and as in float32."""
    rows = store.read(layout.split("train")).select(range(images))
    prompts = labelled_variant(params, key, "plain", [None] * images).prompts
    found: dict[str, list[str]] = {}
    for dtype in ("float32", "bfloat16"):
        loaded = load_fine_tuned(layout.fine_tuned(key), layout.base(key), dtype=dtype)
        for size in BATCHES:
            made = generate_captions(
                lambda it=loaded: it, rows, prompts, variant="plain", decoding=decoding, batch_size=size
            )
            found[f"{dtype} {size}"] = [one.raw for one in made]
    pairs = [(f"bfloat16 {size}", "bfloat16 1") for size in BATCHES[1:]] + [("bfloat16 1", "float32 1")]
    pairs += [(f"float32 {size}", "float32 1") for size in BATCHES[1:]]
    shares = [sum(a == b for a, b in zip(found[one], found[other], strict=True)) / images for one, other in pairs]
    return [key, *(f"{share:.3f}" for share in shares)]
