"""Everything around a run that never changes its result: processes, checkpoints, progress, records, MLflow."""
