"""Captions from a model: batched decoding, written as JSON lines."""
