"""The pipeline with models side by side: DVC runs the stages of one repro one after another.

Each lane is a chain of `dvc repro --single-item`, which is safe beside others; DVC alone decides what runs.
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


def chains(settings: Settings, changed: set[str]) -> list[list[str]]:
    """Stages to offer to DVC, one list per lane in its order: scorers, then each model that a change reaches."""
    everything = not changed.isdisjoint({"prepare", "scorers"})
    lanes = [[f"{stage}@{key}" for stage in STAGES] for key in settings.models]
    reached = [chain for chain in lanes if everything or changed.intersection(chain)]
    return [["scorers"], *reached] if everything else reached


def repro(settings: Settings, *, jobs: int) -> None:
    """Bring the pipeline up to date with up to `jobs` models at once. UserError when a stage fails."""
    changed = set(json.loads(_output("status", "--json")))
    if "prepare" in changed:
        _run("prepare")
    scored = threading.Event()
    failed = threading.Event()

    def lane(chain: list[str]) -> None:
        try:
            for stage in chain:
                # Scores wait for the scorers, which are the first lane where they are made at all.
                if stage.startswith("score@") and lanes[0] == ["scorers"]:
                    scored.wait()
                if failed.is_set():
                    return
                _run(stage)
        except UserError:
            failed.set()
            raise
        finally:
            if chain == ["scorers"]:
                scored.set()

    lanes = chains(settings, changed)
    with ThreadPoolExecutor(jobs) as pool:
        for result in [pool.submit(lane, chain) for chain in lanes]:
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
