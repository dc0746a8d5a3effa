"""How a stage starts and ends. A stage imports this module before all others of radcap.

Importing torch, transformers and what they import creates several million objects. Python's garbage collector walks
through them again and again, which takes a fifth of the CPU time before the work begins, and finds nothing.
"""

import gc
from collections.abc import Callable

from radcap.errors import one_line_errors
from radcap.runtime.quiet import quiet_libraries

gc.disable()


def run_stage(main: Callable[..., None], *arguments: str) -> None:
    """Run a stage's `main` with the arguments of its script. Errors of users end the process with one line."""
    # What has been imported stays: later collections pass over it.
    gc.freeze()
    gc.enable()
    quiet_libraries()
    with one_line_errors():
        main(*arguments)
