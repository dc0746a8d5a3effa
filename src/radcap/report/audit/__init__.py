"""Tables recomputed from their own components: what is off by more than rounding, and what hangs on it."""
