"""Fine-tuning: examples, the one loss, the Trainer."""
