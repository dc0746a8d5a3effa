"""CheXNet's public weights, DenseNet-121 trained on chest radiographs (Rajpurkar et al. 2017), read strictly.

The usual `strict=False` loads next to nothing of these files: they name layers as torchvision did in 2017.
"""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

SUFFIXES = (".pth.tar", ".pth", ".pt", ".safetensors")


def is_checkpoint(source: str) -> bool:
    """Whether a model's source is such a file, not a folder or a hub id."""
    return source.endswith(SUFFIXES)


def load_features(densenet: nn.Module, path: Path) -> int:
    """Load a checkpoint into the features of MONAI's DenseNet; return how many tensors of its classifier stay out.

    ValueError in one line: no such checkpoint, or weights that are missing, unexpected or of another shape.
    """
    stored = {_monai_name(name): tensor for name, tensor in _tensors(path).items()}
    head = {name for name in stored if name.startswith("classifier.")}
    expected = densenet.state_dict()
    # Batch norms count their batches since 2018 only, and the count matters to none of them.
    counts = {name for name in expected if name.endswith("num_batches_tracked")}
    missing = sorted(expected.keys() - stored.keys() - counts)
    unexpected = sorted(stored.keys() - expected.keys() - head)
    reshaped = sorted(n for n in expected.keys() & stored.keys() if expected[n].shape != stored[n].shape)
    mistakes = [
        f"{len(names)} weights are {what}, first {names[0]}"
        for what, names in (("missing", missing), ("unexpected", unexpected), ("of another shape", reshaped))
        if names
    ]
    if mistakes:
        raise ValueError(f"{path.name} is no CheXNet of this size: {'; '.join(mistakes)}")
    densenet.load_state_dict({name: stored.get(name, expected[name]) for name in expected})
    return len(head)


def _tensors(path: Path) -> dict[str, torch.Tensor]:
    try:
        state: Any = (
            load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
    except (pickle.UnpicklingError, RuntimeError, EOFError, SafetensorError) as error:
        raise ValueError(f"{path.name} cannot be read as weights: {' '.join(str(error).split())[:200]}") from None
    state = state.get("state_dict", state) if isinstance(state, dict) else state
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise ValueError(f"{path.name} holds no state_dict of tensors")
    return state


def _monai_name(name: str) -> str:
    """module.densenet121.features.denseblock1.denselayer1.norm.1.bias -> denseblock1.denselayer1.layers.norm1.bias"""
    name = name.removeprefix("module.").removeprefix("densenet121.").removeprefix("features.")
    name = re.sub(r"\.(norm|relu|conv)\.([12])\.", r".\1\2.", name)
    return re.sub(r"(\.denselayer\d+)\.(norm|conv)", r"\1.layers.\2", name)
