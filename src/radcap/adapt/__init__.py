"""LoRA adapters: which modules a strategy adapts, an audit of what is trainable, and fine-tuned models on disk."""
