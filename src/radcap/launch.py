"""The pipeline with models side by side: DVC runs the stages of one repro one after another.

Each stage is a `dvc repro --single-item`, which is safe beside others; DVC alone decides what runs.
"""

import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

from radcap.errors import UserError
from radcap.settings import Settings

DVC = [sys.executable, "-m", "dvc", "--wait-for-lock"]
STAGES = ("base", "finetune", "generate", "score")
# What runs once, before every model's stage of that name. The longest comes first.
AWAITED = {"score": "scorers", "generate": "modality"}


def chains(settings: Settings, changed: set[str]) -> list[list[str]]:
    """Stages to offer to DVC, one chain per model that a change reaches in its order, what they wait for first."""
    everything = not changed.isdisjoint({"prepare", *AWAITED.values()})
    lanes = [[f"{stage}@{key}" for stage in STAGES] for key in settings.models]
    reached = [chain for chain in lanes if everything or changed.intersection(chain)]
    return [*([stage] for stage in AWAITED.values()), *reached] if everything else reached


class Queue:
    """Chains of stages for several workers: each stage once, in its chain's order, after what it waits for."""

    def __init__(self, stages: list[list[str]]) -> None:
        self.left = {chain[0]: list(chain) for chain in stages}
        self.running: set[str] = set()

    def take(self) -> tuple[str, str] | None:
        """(chain, its next stage) of a chain with most stages left, so that all end together; None: nothing yet."""
        free = [
            name
            for name, chain in self.left.items()
            if name not in self.running and AWAITED.get(chain[0].partition("@")[0]) not in self.left
        ]
        if not free:
            return None
        name = max(free, key=lambda name: (name in AWAITED.values(), len(self.left[name])))
        self.running.add(name)
        return name, self.left[name][0]

    def done(self, name: str) -> None:
        """The chain's stage has ended well."""
        self.running.discard(name)
        self.left[name].pop(0)
        if not self.left[name]:
            del self.left[name]


def repro(settings: Settings, *, jobs: int) -> None:
    """Bring the pipeline up to date with up to `jobs` stages at once. UserError when one fails."""
    _run("resolve")
    changed = set(json.loads(_output("status", "--json")))
    if "prepare" in changed:
        _run("prepare")
    queue = Queue(chains(settings, changed))
    turn = threading.Condition()
    failed = threading.Event()

    def work() -> None:
        while True:
            with turn:
                while (taken := queue.take()) is None and queue.left and not failed.is_set():
                    turn.wait()
                if taken is None or failed.is_set():
                    return
            try:
                _run(taken[1])
            except BaseException:
                failed.set()
                raise
            finally:
                with turn:
                    if not failed.is_set():
                        queue.done(taken[0])
                    turn.notify_all()

    with ThreadPoolExecutor(jobs) as pool:
        for result in [pool.submit(work) for _ in range(jobs)]:
            result.result()
    if subprocess.run([*DVC, "repro"], check=False).returncode:
        raise UserError("dvc repro failed; its own message stands above")


def _run(stage: str) -> None:
    # One stage a command: between several, DVC keeps its lock and other lanes stand still.
    command = [*DVC, "repro", "--quiet", "--single-item", stage]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip():
            print(line.rstrip(), flush=True)
    if process.wait():
        raise UserError(f"stage {stage} failed; its own message stands above")


def _output(*arguments: str) -> str:
    done = subprocess.run([*DVC, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"dvc {arguments[0]} failed: {done.stderr.strip().splitlines()[-1]}")
    return done.stdout.splitlines()[-1]
