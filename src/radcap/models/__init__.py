"""The models: one adapter class per family, miniatures of the same classes, loading of published weights."""

import os
import sys

# Bars of the Hugging Face libraries belong on terminals; they read this when imported.
if not sys.stderr.isatty():
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
