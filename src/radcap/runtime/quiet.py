"""Hides messages of libraries that users of the pipeline can do nothing about. Each is listed here by its words.

A new message reaches the terminal and fails tests/pipeline/test_pipeline.py until somebody has read it.
"""

import logging
import os
import sys
import warnings

# peft uses an attribute that transformers has renamed.
WARNINGS: list[tuple[type[Warning], str]] = [(FutureWarning, "`is_gradient_checkpointing` is deprecated")]
# The logger, and how its messages start.
MESSAGES = {
    # A batch of images needs no mask: the decoder starts every caption from one token.
    "transformers.generation.utils": ("The attention mask is not set with a batched input",),
    # The first stage that uses MLflow creates its database.
    "mlflow.store.db.utils": ("Creating initial MLflow database tables", "Updating database tables"),
}


class _Known(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith(MESSAGES[record.name])


_KNOWN = _Known()


def quiet_libraries() -> None:
    """Hide the messages above and the progress bars of transformers for loading weights. Downloads keep theirs."""
    for category, words in WARNINGS:
        warnings.filterwarnings("ignore", message=words, category=category)
    for name in MESSAGES:
        logging.getLogger(name).addFilter(_KNOWN)
    if "transformers" not in sys.modules:
        # transformers reads this when it is imported later. Such a stage downloads nothing.
        os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
        return
    from transformers.utils.logging import set_tqdm_hook

    set_tqdm_hook(lambda bar, arguments, options: bar(*arguments, **options | {"disable": True}))
