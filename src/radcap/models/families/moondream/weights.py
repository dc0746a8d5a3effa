"""Published checkpoints of 2024: their configuration, files, and names of weights. Their code is never run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from radcap import files
from radcap.models.families.moondream.config import END, VISION, MoondreamConfig
from radcap.models.families.moondream.model import Moondream

# model_type in their config.json
PUBLISHED = "moondream1"
PROJECTION = "vision_encoder.projection.mlp.fc1.weight"

# From this model's names to theirs, one after the other. They keep query, key and value in one tensor.
RULES = (
    (r"^(vision_model\..*)\.self_attn\.[qkv]_proj\.", r"\1.attn.qkv."),
    (r"^(vision_model\..*)\.self_attn\.out_proj\.", r"\1.attn.proj."),
    (r"^(vision_model\..*)\.layer_norm([12])\.", r"\1.norm\2."),
    (r"^vision_model\.embeddings\.patch_embedding\.", "visual.patch_embed.linear."),
    (r"^vision_model\.embeddings\.position_embedding\.weight$", "visual.pos_embed"),
    (r"^vision_model\.encoder\.layers\.", "visual.blocks."),
    (r"^vision_model\.post_layernorm\.", "visual.norm."),
    (r"^visual\.", "vision_encoder.encoder.model.visual."),
    (r"^projection\.", "vision_encoder.projection.mlp."),
    (r"^(text_model\..*)\.self_attn\.[qkv]_proj\.", r"\1.mixer.Wqkv."),
    (r"^(text_model\..*)\.self_attn\.dense\.", r"\1.mixer.out_proj."),
    (r"^(text_model\..*)\.input_layernorm\.", r"\1.ln."),
    (r"^text_model\.lm_head\.", "text_model.lm_head.linear."),
    (r"^text_model\.model\.final_layernorm\.", "text_model.lm_head.ln."),
    (r"^text_model\.model\.embed_tokens\.", "text_model.transformer.embd.wte."),
    (r"^text_model\.model\.layers\.", "text_model.transformer.h."),
)


@dataclass(frozen=True)
class Published:
    """Where a weight lies in a published checkpoint: name and shape there, and which third it is, if one."""

    name: str
    shape: tuple[int, ...]
    third: int | None


def published(name: str, shape: tuple[int, ...]) -> Published:
    """The place of this model's weight `name`, which has that shape here."""
    theirs = name
    for pattern, replacement in RULES:
        theirs = re.sub(pattern, replacement, theirs)
    if part := re.search(r"\.([qkv])_proj\.", name):
        return Published(theirs, (3 * shape[0], *shape[1:]), "qkv".index(part[1]))
    if theirs.endswith("pos_embed"):
        return Published(theirs, (1, *shape), None)
    # A convolution's weight is a matrix there.
    return Published(theirs, (shape[0], torch.Size(shape[1:]).numel()) if len(shape) == 4 else shape, None)


def convert(tensors: Mapping[str, torch.Tensor], config: MoondreamConfig) -> dict[str, torch.Tensor]:
    """A published checkpoint's tensors as this model's state dict.

    ValueError: keys are missing, unexpected or of another shape than the configuration's.
    """
    given = {name.replace("._orig_mod", ""): t for name, t in tensors.items() if not name.startswith("region_model.")}
    with torch.device("meta"):
        shapes = {name: tuple(t.shape) for name, t in Moondream(config).state_dict().items()}
    wanted = {name: published(name, shape) for name, shape in shapes.items()}
    expected = {place.name: place.shape for place in wanted.values()}
    wrong = {
        "missing": expected.keys() - given.keys(),
        "unexpected": given.keys() - expected.keys(),
        "of another shape": {n for n in expected.keys() & given.keys() if tuple(given[n].shape) != expected[n]},
    }
    mistakes = [f"{len(names)} weights are {how}, first {min(names)}" for how, names in wrong.items() if names]
    if mistakes:
        raise ValueError("; ".join(mistakes))
    return {name: _taken(given[place.name], place.third).reshape(shapes[name]) for name, place in wanted.items()}


def _taken(tensor: torch.Tensor, third: int | None) -> torch.Tensor:
    # A copy: weights that share memory cannot be saved.
    return tensor if third is None else tensor.chunk(3)[third].clone()


def model_type(folder: Path) -> str:
    """What a checkpoint's config.json calls itself. OSError: there is none."""
    return str(files.read_json(folder / "config.json").get("model_type"))


def read_config(folder: Path) -> MoondreamConfig:
    """The configuration of a checkpoint, published or saved by this model's own class.

    Published ones say no sizes: the projection's come from its weight, others from `vision_config` and `text_config`
    where config.json has them. ValueError or OSError: no such checkpoint.
    """
    raw = files.read_json(folder / "config.json")
    if model_type(folder) != PUBLISHED:
        return cast(MoondreamConfig, MoondreamConfig.from_pretrained(folder))
    vision = {**VISION, **raw.get("vision_config", {})}
    hidden, inputs = _projection(folder)
    if inputs not in (vision["hidden_size"], 2 * vision["hidden_size"]):
        raise ValueError(f"{PROJECTION} has {inputs} inputs, not once or twice the vision tower's width")
    # Their language model's own configuration names tokens (1, 2) that mean nothing to their tokenizer.
    ids: dict[str, Any] = dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"), raw.get("eos_token_id", END))
    return MoondreamConfig(
        vision_config=vision,
        text_config=raw.get("text_config", {}),
        views=inputs // vision["hidden_size"],
        projection_size=hidden,
        **ids,
    )


def read_tensors(folder: Path) -> dict[str, torch.Tensor]:
    """Every tensor of a checkpoint's safetensors files."""
    return {name: tensor for path in _files(folder) for name, tensor in load_file(path).items()}


def _projection(folder: Path) -> tuple[int, int]:
    for path in _files(folder):
        with safe_open(path, framework="pt") as stored:
            for name in stored.keys():  # noqa: SIM118 - no dict
                if name.replace("._orig_mod", "") == PROJECTION:
                    hidden, inputs = stored.get_slice(name).get_shape()
                    return hidden, inputs
    raise ValueError(f"no {PROJECTION} in {folder}: no MoonDream2 of 2024 (later ones are another model)")


def _files(folder: Path) -> list[Path]:
    index = folder / "model.safetensors.index.json"
    names = set(files.read_json(index)["weight_map"].values()) if index.exists() else {"model.safetensors"}
    paths = [folder / name for name in sorted(names)]
    for path in paths:
        try:
            with safe_open(path, framework="pt"):
                pass
        except SafetensorError as error:
            raise ValueError(f"{path.name} is damaged ({error})") from None
    return paths
