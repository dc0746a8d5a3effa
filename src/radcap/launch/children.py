"""Child processes that end with this one, whatever signal ends it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import psutil

from radcap.errors import Interrupted

# Seconds that interrupted children have to clean up.
GRACE = 20.0


class Children:
    """Children in process groups of their own; while `forwarding`, a signal to this process ends all of them."""

    def __init__(self, *, grace: float = GRACE) -> None:
        self.grace = grace
        self.running: set[subprocess.Popen[str]] = set()
        self.signal: int | None = None

    @contextlib.contextmanager
    def forwarding(self) -> Iterator[None]:
        """Ctrl-C, SIGTERM and a closed terminal interrupt all children and start no more; a second one kills them.

        Raises Interrupted at the end of the block then, whatever else went wrong in it.
        """
        signals = [signal.SIGINT, signal.SIGTERM]
        # Under nohup the work goes on without a terminal.
        signals += [signal.SIGHUP] if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN else []
        before = {number: signal.signal(number, self._end) for number in signals}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            self.check()

    def check(self) -> None:
        """Raise Interrupted when a signal has come."""
        if self.signal:
            raise Interrupted(self.signal)

    @contextlib.contextmanager
    def started(self, command: Sequence[str], **options: Any) -> Iterator[subprocess.Popen[str]]:
        """A child that asks nothing and has ended when the block has. Raises Interrupted when a signal ended it."""
        self.check()
        # A group of its own: Ctrl-C on a terminal would reach it a second time, in the middle of its cleaning up.
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, text=True, process_group=0, **options)
        self.running.add(process)
        if self.signal:
            _kill(process)
        try:
            yield process
            process.wait()
        except BaseException:
            _kill(process)
            process.wait()
            raise
        finally:
            self.running.discard(process)
        if self.signal:
            # What it left in its group, such as a shell's background jobs, which ignore Ctrl-C.
            _kill_group(process)
        self.check()

    def _end(self, number: int, _: Any) -> None:
        if self.signal:
            self._kill_all()
            return
        self.signal = number
        for process in list(self.running):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGINT)
        late = threading.Timer(self.grace, self._kill_all)
        late.daemon = True
        late.start()

    def _kill_all(self) -> None:
        for process in list(self.running):
            _kill(process)


def _kill(process: subprocess.Popen[str]) -> None:
    """A child and all that it started, those with groups of their own too."""
    with contextlib.suppress(psutil.NoSuchProcess):
        for descendant in psutil.Process(process.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                descendant.kill()
    _kill_group(process)


def _kill_group(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
