"""Training that repeats to the last bit on GPUs too."""

import os


def repeat_on_gpus() -> None:
    """Let CUDA use just kernels that repeat to the last bit; call before the first one runs.

    torch raises RuntimeError at an operation that has none.
    """
    import torch

    if torch.cuda.is_available():
        # cuBLAS repeats with a workspace of a fixed size alone.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = False
