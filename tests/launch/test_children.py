"""Children end with their parent: real processes, and signals to the parent alone."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

# Starts two children with a grandchild each, which write their numbers, and waits for them as `radcap repro` does.
PARENT = """
import sys, threading
from radcap.launch.children import Children
from radcap.errors import one_line_errors

children = Children(grace=float(sys.argv[1]))

def run(number):
    with children.started(["sh", "-c", sys.argv[2], "child", str(number)]):
        pass

with one_line_errors(), children.forwarding():
    threads = [threading.Thread(target=run, args=[number]) for number in range(2)]
    threading.excepthook = lambda _: None
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
"""
MEEK = 'sleep 60 & echo $! > $1.pid.part; mv $1.pid.part $1.pid; trap "touch $1.cleaned; exit 130" INT; wait'
# A grandchild in a session of its own, as torchrun starts its workers.
STUBBORN = 'trap "" INT; setsid sleep 60 & echo $! > $1.pid.part; mv $1.pid.part $1.pid; while :; do sleep 60; done'


def start(folder: Path, script: str, *, grace: float) -> tuple["subprocess.Popen[str]", list[psutil.Process]]:
    """The parent, and all that it started."""
    command = [sys.executable, "-c", PARENT, str(grace), script]
    parent = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    files = [folder / f"{number}.pid" for number in range(2)]
    while not all(file.exists() for file in files):
        assert parent.poll() is None, parent.communicate()[0]
        time.sleep(0.02)
    return parent, psutil.Process(parent.pid).children(recursive=True)


def gone(processes: list[psutil.Process]) -> bool:
    return not psutil.wait_procs(processes, timeout=5)[1]


@pytest.mark.parametrize(
    ("number", "line"),
    [(signal.SIGINT, "interrupted"), (signal.SIGTERM, "ended by SIGTERM"), (signal.SIGHUP, "ended by SIGHUP")],
)
def test_a_signal_to_the_parent_ends_all(tmp_path: Path, number: signal.Signals, line: str) -> None:
    parent, started = start(tmp_path, MEEK, grace=60)
    assert len(started) == 4
    os.kill(parent.pid, number)
    output, _ = parent.communicate(timeout=30)
    assert parent.returncode == 128 + number
    assert output == f"radcap: {line}; nothing half-written is left behind\n"
    assert gone(started)
    assert {path.name for path in tmp_path.glob("*.cleaned")} == {"0.cleaned", "1.cleaned"}


@pytest.mark.parametrize("again", [False, True])
def test_what_does_not_listen_is_killed_in_time_or_at_the_second_signal(tmp_path: Path, again: bool) -> None:
    parent, started = start(tmp_path, STUBBORN, grace=60 if again else 0.5)
    os.kill(parent.pid, signal.SIGTERM)
    if again:
        time.sleep(0.3)
        assert parent.poll() is None
        os.kill(parent.pid, signal.SIGINT)
    parent.communicate(timeout=30)
    assert parent.returncode == 128 + signal.SIGTERM
    assert gone(started)


def test_a_child_has_ended_when_its_block_fails() -> None:
    from radcap.launch.children import Children

    with pytest.raises(ZeroDivisionError), Children().started(["sleep", "60"]) as process:
        raise ZeroDivisionError
    assert process.returncode == -signal.SIGKILL
