"""How torch computes a training step: activation checkpointing, and deterministic kernels on GPUs."""

from __future__ import annotations

import os
from typing import Any


def enable_activation_checkpointing(model: Any, every_n_layers: int) -> None:
    """Make every n-th layer of the vision tower and the language model recompute its activations (0: none does).

    Such a layer keeps only its inputs and runs again in the backward pass (Chen et al. 2016). Layers whose output
    depends on nothing trainable run once: transformers would make the embeddings of every part require gradients,
    frozen towers included, and only the reentrant variant needs that.
    """
    if every_n_layers:
        model.activation_checkpointing_enable(
            activation_checkpointing_kwargs={"use_reentrant": False}, every_n_layers=every_n_layers
        )
        model.disable_input_require_grads()


def use_deterministic_kernels() -> None:
    """Make CUDA use only kernels whose results repeat to the last bit. Call it before the first kernel runs.

    torch raises RuntimeError when an operation has no deterministic kernel.
    """
    import torch

    if torch.cuda.is_available():
        # cuBLAS is deterministic only with a workspace of a fixed size.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = False
