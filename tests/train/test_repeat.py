"""GPUs repeat too where that is asked for; without a GPU nothing is set."""

import os

import pytest
import torch

from radcap.train.repeat import repeat_on_gpus


@pytest.mark.parametrize("cuda", [False, True])
def test_deterministic_kernels_are_asked_for_where_a_gpu_is(cuda: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    try:
        repeat_on_gpus()
        assert torch.are_deterministic_algorithms_enabled() == cuda
        assert os.environ.pop("CUBLAS_WORKSPACE_CONFIG", None) == (":4096:8" if cuda else None)
    finally:
        torch.use_deterministic_algorithms(False)
