"""Fine-tuning: examples, the loss that all models share, and the Trainer."""
