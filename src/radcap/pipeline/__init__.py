"""What the result of each stage depends on: the parameters that it reads and the code that it runs.

DVC's own `params:` and `deps:` cannot express what differs between models (the package of its family, the section
that trains it) without listing every model in dvc.yaml. They also rerun a stage when only a comment has changed.
The stage `resolve` therefore writes one file per stage and model, and each stage depends on its file.
"""
