"""What each stage's result depends on: the parameters that it reads and the code that it runs.

DVC's own `params:` and `deps:` cannot name what differs from model to model (its family's package, the section that
trains it) without a list of all models in dvc.yaml, and they rerun a stage for a comment. The stage `resolve` writes
one file per stage and model instead, and the stage depends on that file.
"""
