"""The pipeline with models side by side: DVC runs the stages of one repro one after another.

Each stage is a `dvc repro --single-item`, which is safe beside others; DVC alone decides what runs.
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
# What runs once, before every model's stage of that name. The longest comes first.
AWAITED = {"score": "scorers", "generate": "modality"}
# Writes what every other stage depends on, so it runs before DVC is asked what has changed.
FIRST, LAST = "resolve", "aggregate"


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


def stages(settings: Settings) -> list[str]:
    """Every stage of the pipeline."""
    of_models = [f"{stage}@{key}" for key in settings.models for stage in STAGES]
    return [FIRST, "prepare", *AWAITED.values(), *of_models, LAST]


def repro(settings: Settings, *, jobs: int) -> None:
    """Bring the pipeline up to date with up to `jobs` stages at once.

    UserError when a stage or DVC fails: stages that run beside it end first. Interrupted when a signal came: every
    child has ended then.
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
    # What no lane was for: the last stage, and stages that a project has added.
    dvc.repro(LAST, lane=0, whole=True)
