"""Parts of the training benchmarks (train.py, train_gpu.py)."""
