"""MedImageInsight's checkpoint files: finds them, reads the network's sizes, and loads the weights strictly."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from radcap import files
from radcap.errors import UserError

# lion-ai/MedImageInsights, 2024.09.27/config.yaml: 616M parameters.
PUBLISHED: dict[str, Any] = {
    "image_encoder": {
        "patch_size": [7, 3, 3, 3],
        "patch_stride": [4, 2, 2, 2],
        "patch_padding": [3, 1, 1, 1],
        "patch_prenorm": [False, True, True, True],
        "dim_embed": [256, 512, 1024, 2048],
        "num_heads": [8, 16, 32, 64],
        "num_groups": [8, 16, 32, 64],
        "depths": [1, 1, 9, 1],
        "window_size": 12,
        "image_size": [480, 480],
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
    },
    "text_encoder": {
        "context_length": 77,
        "width": 1024,
        "heads": 16,
        "layers": 16,
        "vocab_size": 49408,
        "layer_norm_eps": 1e-12,
    },
    "projection_dim": 1024,
}
# The temperature of the contrastive loss does not enter a cosine.
UNUSED_WEIGHTS = {"logit_scale"}

# (pattern of our name, published name) of the image encoder. Text encoder and projections have the published names.
RENAMING_RULES = (
    (r"^image_encoder\.backbone\.", "image_encoder."),
    (r"(\.convs\.\d+)\.conv\.", r"\1.proj."),
    (r"(_block)\.(conv[12])\.", r"\1.\2.fn.dw."),
    (r"(spatial_block)\.norm1\.", r"\1.window_attn.norm."),
    (r"(channel_block)\.norm1\.", r"\1.channel_attn.norm."),
    (r"\.(window|channel)_attn\.(qkv|proj)\.", r".\1_attn.fn.\2."),
    (r"(_block)\.norm2\.", r"\1.ffn.norm."),
    (r"(_block)\.ffn\.(fc[12])\.", r"\1.ffn.fn.net.\2."),
)


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The weights file, tokenizer folder and settings of a checkpoint. Without a config.json these are PUBLISHED."""

    weights: Path
    tokenizer: Path
    settings: dict[str, Any]


def find_checkpoint(folder: Path) -> Checkpoint:
    """Find the files in a flat folder (weights.safetensors, config.json, vocab.json, merges.txt) or the published tree.

    UserError: the folder or one of its files is missing, or its config.json lacks a key.
    """
    if not folder.is_dir():
        raise UserError(f"MedImageInsight checkpoint {folder} is not a folder")
    if (folder / "config.json").exists() or (folder / "weights.safetensors").exists():
        weights, tokenizer, settings = folder / "weights.safetensors", folder, _read_settings(folder / "config.json")
    else:
        tree = folder / "2024.09.27" if (folder / "2024.09.27").is_dir() else folder
        # This is how its publishers spell it. Despite its suffix it is a safetensors file.
        weights, settings = tree / "vision_model" / "medimageinsigt-v1.0.0.pt", PUBLISHED
        tokenizer = tree / "language_model" / "clip_tokenizer_4.16.2"
    for path in (weights, tokenizer / "vocab.json", tokenizer / "merges.txt"):
        if not path.exists():
            raise UserError(f"MedImageInsight checkpoint {folder}: {path.relative_to(folder)} is missing")
    return Checkpoint(weights=weights, tokenizer=tokenizer, settings=settings)


def _read_settings(path: Path) -> dict[str, Any]:
    try:
        settings: dict[str, Any] = files.read_json(path)
    except FileNotFoundError:
        raise UserError(f"MedImageInsight checkpoint {path.parent}: {path.name} is missing") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}") from None
    if missing := _missing_keys(settings, PUBLISHED):
        raise UserError(f"{path}: {missing[0]} is missing")
    return settings


def _missing_keys(settings: Any, expected: dict[str, Any], prefix: str = "") -> list[str]:
    missing = []
    for key, value in expected.items():
        if not isinstance(settings, dict) or key not in settings:
            missing.append(prefix + key)
        elif isinstance(value, dict):
            missing += _missing_keys(settings[key], value, f"{prefix}{key}.")
    return missing


def published_name(name: str) -> str:
    """The name of a parameter in the published checkpoint, given ours."""
    for pattern, replacement in RENAMING_RULES:
        name = re.sub(pattern, replacement, name)
    return name


def load_weights(model: nn.Module, path: Path) -> None:
    """Load the tensors of a published checkpoint into `model` (on the meta device), in float32.

    UserError, in one line: not a safetensors file, or tensors that are missing, unexpected, of another shape or not
    finite.
    """
    try:
        stored = load_file(path)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} cannot be read as safetensors: {' '.join(str(error).split())[:200]}") from None
    expected = {published_name(name): parameter for name, parameter in model.state_dict().items()}
    shared = sorted(expected.keys() & stored.keys())
    faults = {
        "missing": sorted(expected.keys() - stored.keys()),
        "unexpected": sorted(stored.keys() - expected.keys() - UNUSED_WEIGHTS),
        "of another shape": [name for name in shared if expected[name].shape != stored[name].shape],
        "not finite": [name for name in shared if not torch.isfinite(stored[name]).all()],
    }
    messages = [f"{len(names)} weights are {fault}, first {names[0]}" for fault, names in faults.items() if names]
    if messages:
        raise UserError(f"{path} is not a MedImageInsight of this size: {'; '.join(messages)}")
    tensors = {name: stored[published_name(name)].float() for name in model.state_dict()}
    model.load_state_dict(tensors, assign=True)
