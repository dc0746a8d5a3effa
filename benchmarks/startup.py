"""CPU seconds of a stage before its work begins: before the first training step, or the first token read.

    python benchmarks/startup.py                     # in a workspace with results
    python benchmarks/startup.py --before FOLDER     # also a workspace of an earlier commit, with its results

Prints each side's lowest of several runs, taken in turns. MLflow writes to a temporary database. "libraries" is a
script that only imports the public classes that the stage uses, without garbage collection: no stage can start faster.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

MODEL = "smolvlm_500m"
# stage -> (module, class, method) whose first call is the beginning of the work
WORK = {
    "base": ("transformers.trainer", "Trainer", "train"),
    "finetune": ("transformers.trainer", "Trainer", "train"),
    "generate": ("torch.nn.modules.sparse", "Embedding", "forward"),
}
TRAINER = "import torch, datasets; from transformers import AutoProcessor, SmolVLMForConditionalGeneration, Trainer"
LIBRARIES = {
    "base": TRAINER,
    "finetune": f"{TRAINER}; import peft; from mlflow.tracking import MlflowClient",
    "generate": "import torch, datasets, peft; from transformers import AutoProcessor, SmolVLMForConditionalGeneration",
}
CPU = "use = resource.getrusage(resource.RUSAGE_SELF); print(f'cpu {use.ru_utime + use.ru_stime:.2f}', flush=True)"
# Runs a stage's script and ends the process at that call.
RUNNER = f"""
import importlib.machinery, os, resource, runpy, sys

name, owner, method, script, model = sys.argv[1:]

def stop(*_, **__):
    {CPU}
    os._exit(0)

class Finder:
    def find_spec(self, fullname, path, target=None):
        if fullname != name:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path)
        load = spec.loader.exec_module
        def exec_module(module):
            load(module)
            setattr(getattr(module, owner), method, stop)
        spec.loader.exec_module = exec_module
        return spec

sys.meta_path.insert(0, Finder())
sys.argv = [script, model]
sys.path[0] = os.path.dirname(script)
runpy.run_path(script, run_name="__main__")
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, metavar="FOLDER", help="a workspace of an earlier commit")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    sides = {"libraries": Path.cwd(), "this": Path.cwd()} | ({"before": options.before} if options.before else {})
    with tempfile.TemporaryDirectory(prefix="radcap-startup-") as scratch:
        seconds: dict[tuple[str, str], list[float]] = {}
        # The first round creates the database and the compiled files, and does not count.
        for number in range(options.rounds + 1):
            for stage in WORK:
                for side, folder in sides.items():
                    if side == "libraries":
                        code = f"import gc, resource; gc.disable(); {LIBRARIES[stage]}; {CPU}"
                        value = cpu_seconds(["-c", code], folder, os.environ)
                    else:
                        value = startup(stage, folder.resolve(), Path(scratch) / f"{side}.db")
                    if number:
                        seconds.setdefault((stage, side), []).append(value)
    for stage in WORK:
        best = {side: min(seconds[stage, side]) for side in sides}
        text = "  ".join(f"{side} {value:5.2f} s" for side, value in best.items())
        ratio = f"  this / before: {best['this'] / best['before']:.2f}" if options.before else ""
        print(f"{stage:<10}{text}{ratio}")


def startup(stage: str, folder: Path, database: Path) -> float:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DVC_")}
    environment |= {"PYTHONPATH": str(folder / "src"), "MLFLOW_TRACKING_URI": f"sqlite:///{database}"}
    return cpu_seconds(["-c", RUNNER, *WORK[stage], f"stages/{stage}.py", MODEL], folder, environment)


def cpu_seconds(arguments: Sequence[str], folder: Path, environment: Mapping[str, str]) -> float:
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("cpu ")]
    if not lines:
        raise SystemExit(f"{folder}: {arguments[-2:]} ended too early:\n{(done.stdout + done.stderr)[-2000:]}")
    return float(lines[0].removeprefix("cpu "))


if __name__ == "__main__":
    main()
