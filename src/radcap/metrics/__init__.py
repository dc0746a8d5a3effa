"""Caption metrics: one module per metric, one evaluator for all of them, and the protocols as data."""
