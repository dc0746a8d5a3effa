"""Published checkpoints: where they come from, whether they are there, fetching them, and the doctor."""
