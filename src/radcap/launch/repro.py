"""Runs several models at a time; a single `dvc repro` runs one stage after another.

Each stage is a `dvc repro --single-item`, which may run beside others. DVC alone decides what has to run.
"""

import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from radcap.errors import UserError
from radcap.launch.children import Children
from radcap.launch.display import Display
from radcap.launch.dvc_commands import Dvc, DvcFailed
from radcap.settings import Settings

STAGES = ("base", "finetune", "generate", "score")
# A stage of all models -> the shared stage that it waits for. The longest comes first.
AWAITED = {"score": "scorers", "generate": "modality"}
# `resolve` writes a dependency of every other stage, so it runs before DVC is asked what has changed.
FIRST, LAST = "resolve", "aggregate"


def chains(settings: Settings, changed: set[str]) -> list[list[str]]:
    """Chains of stages for DVC to bring up to date: shared stages first, then one chain for each affected model."""
    everything = not changed.isdisjoint({"prepare", *AWAITED.values()})
    lanes = [[f"{stage}@{key}" for stage in STAGES] for key in settings.models]
    reached = [chain for chain in lanes if everything or changed.intersection(chain)]
    return [*([stage] for stage in AWAITED.values()), *reached] if everything else reached


class Queue:
    """Hands out chains of stages to several workers: each stage once, in order, after the stage that it waits for."""

    def __init__(self, stages: list[list[str]]) -> None:
        self.left = {chain[0]: list(chain) for chain in stages}
        self.running: set[str] = set()

    def take(self) -> tuple[str, str] | None:
        """(chain, next stage) of the chain with most stages left, so that all end together; None if all must wait."""
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
        """A stage of the chain has succeeded."""
        self.running.discard(name)
        self.left[name].pop(0)
        if not self.left[name]:
            del self.left[name]


def stages(settings: Settings) -> list[str]:
    """Every stage of the pipeline."""
    of_models = [f"{stage}@{key}" for key in settings.models for stage in STAGES]
    return [FIRST, "prepare", *AWAITED.values(), *of_models, LAST]


def repro(settings: Settings, *, jobs: int) -> None:
    """Bring the pipeline up to date with up to `jobs` stages at once.

    UserError if a stage or DVC fails, after the stages beside it have ended. Interrupted if a signal arrived, after all
    children have ended.
    """
    children = Children()
    with children.forwarding(), tempfile.TemporaryDirectory(prefix="radcap-repro-") as scratch:
        display = Display(stages(settings), lanes=jobs)
        try:
            with display:
                _repro(settings, Dvc(children, display, Path(scratch)), jobs=jobs)
        except DvcFailed as failure:
            display.failure(f"{failure.name} failed; its last lines:", failure.lines)
            raise UserError(f"{failure.name} failed; its own message stands above") from None


def _repro(settings: Settings, dvc: Dvc, *, jobs: int) -> None:
    dvc.repro(FIRST, lane=0)
    changed = dvc.changed()
    lanes = chains(settings, changed)
    reached = {stage for chain in lanes for stage in chain} | changed | {LAST}
    dvc.display.unchanged([stage for stage in stages(settings) if stage not in (FIRST, *reached)])
    if "prepare" in changed:
        dvc.repro("prepare", lane=0)
    queue = Queue(lanes)
    turn = threading.Condition()
    failed = threading.Event()

    def work(lane: int) -> None:
        while True:
            with turn:
                while (taken := queue.take()) is None and queue.left and not failed.is_set():
                    turn.wait()
                if taken is None or failed.is_set():
                    return
            try:
                dvc.repro(taken[1], lane=lane)
            except BaseException:
                failed.set()
                raise
            finally:
                with turn:
                    if not failed.is_set():
                        queue.done(taken[0])
                    turn.notify_all()

    with ThreadPoolExecutor(jobs) as pool:
        for result in [pool.submit(work, lane) for lane in range(jobs)]:
            result.result()
    # The rest: the last stage, and stages that a project has added.
    dvc.repro(LAST, lane=0, whole=True)
