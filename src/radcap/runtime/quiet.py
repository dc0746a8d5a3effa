"""Messages of libraries that the pipeline's users can do nothing about: each is known by its words, and hidden.

A new one reaches the terminal, and fails tests/pipeline/test_output.py until someone has read it.
"""

import logging
import os
import sys
import warnings

# peft asks transformers for what transformers has renamed.
WARNINGS: list[tuple[type[Warning], str]] = [(FutureWarning, "`is_gradient_checkpointing` is deprecated")]
# By the logger that says it.
MESSAGES = {
    # A batch of pictures needs no mask: the decoder starts every caption from one token.
    "transformers.generation.utils": ("The attention mask is not set with a batched input",),
    # The first stage that tracks makes the database.
    "mlflow.store.db.utils": ("Creating initial MLflow database tables", "Updating database tables"),
}


class _Known(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith(MESSAGES[record.name])


_KNOWN = _Known()


def quiet_libraries() -> None:
    """Hide the messages above, and transformers' bars over files of weights; those of downloads stay."""
    for category, words in WARNINGS:
        warnings.filterwarnings("ignore", message=words, category=category)
    for name in MESSAGES:
        logging.getLogger(name).addFilter(_KNOWN)
    if "transformers" not in sys.modules:
        # Read when a stage imports it later; such a stage downloads nothing.
        os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
        return
    from transformers.utils.logging import set_tqdm_hook

    set_tqdm_hook(lambda bar, arguments, options: bar(*arguments, **options | {"disable": True}))
