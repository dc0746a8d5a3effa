"""Captions per second of LLaVA-1.5-7B at full size with random weights on a GPU: radcap's batches against a loop.

    python -m benchmarks.generate_gpu [--batch-sizes 16 32 64] [--captions 64] [--tokens 32] [--tiny]

No checkpoint is needed: prompts are random tokens around 576 image tokens, pictures are noise, and every caption runs
to --tokens, for random weights end nothing. Equal captions are those of the loop; in bfloat16 near ties may fall
otherwise. --tiny runs the same code on the sample's miniature, on any machine.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from types import SimpleNamespace

import torch
from transformers import GenerationConfig

from radcap import settings
from radcap.caption.decode import decode, to_model
from radcap.caption.search import DecodingOptions
from radcap.models.base import LoadedModel
from radcap.models.family import Family, Tensors, get_family
from radcap.models.inputs import collate
from radcap.plan import sizes

KEY = "llava_1_5_7b"
PROMPT_TOKENS = 24


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=[16, 32, 64])
    parser.add_argument("--captions", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tiny", action="store_true")
    options = parser.parse_args()
    torch.manual_seed(0)
    loaded = tiny() if options.tiny else full_size()
    decoding = DecodingOptions(beams=1, max_new_tokens=options.tokens)
    given = [example(loaded) for _ in range(options.captions)]
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    size = "miniature" if options.tiny else "full size"
    print(f"{KEY}, {size}, {loaded.model.dtype}, {device}, {options.tokens} tokens a caption")

    sides: dict[str, Callable[[], list[list[int]]]] = {"loop": lambda: one_by_one(loaded, given, options.tokens)}
    for size in options.batch_sizes:
        sides[f"radcap, batch {size}"] = lambda size=size: batched(loaded, given, decoding, size)
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    found: dict[str, list[list[int]]] = {}
    for _ in range(options.rounds + 1):
        for name, run in sides.items():
            start = time.perf_counter()
            found[name] = run()
            seconds[name].append(time.perf_counter() - start)
    base = statistics.median(seconds["loop"][1:])
    for name, values in seconds.items():
        took = statistics.median(values[1:])
        equal = sum(a == b for a, b in zip(found["loop"], found[name], strict=True))
        rate = options.captions / took
        print(f"{name}: {rate:.2f} captions/s, {rate * options.tokens:.0f} tokens/s, {base / took:.1f}x, {equal} equal")
    if torch.cuda.is_available():
        print(f"peak GPU memory {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB")


def full_size() -> LoadedModel:
    """Weights drawn at random, where the model will run, in bfloat16."""
    adapter = get_family("llava")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    config = adapter.config(sizes.full_size(KEY))
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device(device):
            model = adapter.build(config).eval()
    finally:
        torch.set_default_dtype(before)
    return LoadedModel(adapter, model, tokens_only())


def tiny() -> LoadedModel:
    adapter: Family = get_family("llava")
    model, _ = adapter.miniature(settings.load().models[KEY].miniature, ["An image."] * 40)
    return LoadedModel(adapter, model.eval(), tokens_only())


def tokens_only() -> SimpleNamespace:
    """What decoding asks a processor for."""
    return SimpleNamespace(tokenizer=SimpleNamespace(eos_token_id=-1, pad_token_id=0))


def example(loaded: LoadedModel) -> Tensors:
    """One prompt: random words before and after an image's tokens, and noise for its pixels."""
    config = loaded.model.config
    side, patch = config.vision_config.image_size, config.vision_config.patch_size
    words = torch.randint(3, 200, (1, PROMPT_TOKENS))
    words[words == config.image_token_id] = 2
    image = torch.full((1, (side // patch) ** 2), config.image_token_id)
    ids = torch.cat([words[:, :4], image, words[:, 4:]], dim=1)
    return {"input_ids": ids, "pixel_values": torch.randn(1, 3, side, side)}


@torch.inference_mode()
def one_by_one(loaded: LoadedModel, given: list[Tensors], tokens: int) -> list[list[int]]:
    # Without an end token nothing ends a caption before its last; transformers takes what is unset from the model's.
    loaded.model.generation_config.eos_token_id = None
    config = GenerationConfig(max_new_tokens=tokens, do_sample=False, pad_token_id=0)
    made = []
    for inputs in given:
        batch = collate([inputs], loaded.family, pad_id=0, side="left")
        inputs_there = {name: to_model(tensor, loaded.model) for name, tensor in batch.items()}
        output = loaded.model.generate(**inputs_there, generation_config=config)
        made.append(output[0, inputs["input_ids"].shape[1] :].tolist())
    return made


def batched(loaded: LoadedModel, given: list[Tensors], decoding: DecodingOptions, size: int) -> list[list[int]]:
    parts = [given[start : start + size] for start in range(0, len(given), size)]
    return [one.tokens for part in parts for one in decode(loaded, part, decoding)]


if __name__ == "__main__":
    main()
