"""Child processes that end with this process, whatever signal ends it."""

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

# Seconds for interrupted children to clean up.
GRACE = 20.0


class Children:
    """Children in their own process groups. While `forwarding`, a signal to this process ends all of them."""

    def __init__(self, *, grace: float = GRACE) -> None:
        self.grace = grace
        self.running: set[subprocess.Popen[str]] = set()
        self.signal: int | None = None

    @contextlib.contextmanager
    def forwarding(self) -> Iterator[None]:
        """Let Ctrl-C, SIGTERM and a closed terminal interrupt all children; a second signal kills them.

        No child starts after a signal. The block then ends with Interrupted, whatever else went wrong in it.
        """
        signals = [signal.SIGINT, signal.SIGTERM]
        # Under nohup, work continues without a terminal.
        signals += [signal.SIGHUP] if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN else []
        before = {number: signal.signal(number, self._end) for number in signals}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            self.check()

    def check(self) -> None:
        """Raise Interrupted if a signal has arrived."""
        if self.signal:
            raise Interrupted(self.signal)

    @contextlib.contextmanager
    def started(self, command: Sequence[str], **options: Any) -> Iterator[subprocess.Popen[str]]:
        """A child without input, which has ended when the block ends. Raises Interrupted if a signal ended it."""
        self.check()
        # In the same group, Ctrl-C on a terminal would reach the child twice and disturb its cleaning up.
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
            # Kill what it left in its group, such as background jobs of a shell, which ignore Ctrl-C.
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
        timer = threading.Timer(self.grace, self._kill_all)
        timer.daemon = True
        timer.start()

    def _kill_all(self) -> None:
        for process in list(self.running):
            _kill(process)


def _kill(process: subprocess.Popen[str]) -> None:
    """Kill a child and all its descendants, also those in other process groups."""
    with contextlib.suppress(psutil.NoSuchProcess):
        for descendant in psutil.Process(process.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                descendant.kill()
    _kill_group(process)


def _kill_group(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
