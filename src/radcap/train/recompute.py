"""Activation checkpointing (Chen et al. 2016): layers keep their inputs alone and run again in the backward pass."""

from typing import Any


def recompute_layers(model: Any, every: int) -> None:
    """Let every so-many-th layer of towers and language model recompute its activations; 0: none does.

    Only layers that something trainable stands behind run twice. transformers would have the embeddings of every
    part, frozen towers included, ask for gradients, which just the reentrant way needs.
    """
    if every:
        model.activation_checkpointing_enable(
            activation_checkpointing_kwargs={"use_reentrant": False}, every_n_layers=every
        )
        model.disable_input_require_grads()
