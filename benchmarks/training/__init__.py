"""Training measured on several sides (benchmarks/train.py)."""
