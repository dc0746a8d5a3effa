"""What `dvc repro` takes when nothing is to be done, beside a pipeline of the same shape whose commands are `true`.

    python benchmarks/noop.py                     # in a workspace with results
    python benchmarks/noop.py --before FOLDER     # also a workspace of an earlier commit, with its results

Prints each side's fastest of several runs, taken in turns, in seconds of wall time.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

UP_TO_DATE = "Data and pipelines are up to date."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, metavar="FOLDER", help="a workspace of an earlier commit")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="radcap-noop-") as name:
        generated = generate(Path("dvc.lock"), Path(name))
        folders = {"generated": generated, "this": Path.cwd()}
        if options.before:
            folders["before"] = options.before
        for folder in folders.values():
            check(folder)
        seconds = {side: [] for side in folders}
        for _ in range(options.rounds):
            for side, folder in folders.items():
                seconds[side].append(repro(folder))
    best = {side: min(values) for side, values in seconds.items()}
    for side, value in best.items():
        print(f"{side:<10}{value:6.2f} s  {value / best['generated']:.2f}x the generated pipeline")
    if "before" in best:
        print(f"this / before: {best['this'] / best['before']:.2f}")


def check(folder: Path) -> None:
    """Exit if `dvc repro` would run anything."""
    command = [sys.executable, "-m", "dvc", "repro", "--dry"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if not done.stdout.strip().endswith(UP_TO_DATE):
        raise SystemExit(f"{folder}: `dvc repro` is no no-op there; make its results first")


def repro(folder: Path) -> float:
    start = time.perf_counter()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DVC_")}
    command = [sys.executable, "-m", "dvc", "repro"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    if not done.stdout.strip().endswith(UP_TO_DATE):
        raise SystemExit(f"{folder}: `dvc repro` is no no-op there:\n{(done.stdout + done.stderr)[-1000:]}")
    return seconds


def generate(lock: Path, folder: Path) -> Path:
    """A repository with the lock file's stages, dependencies and outputs, each a small file or a folder of one."""
    stages: dict[str, Any] = YAML(typ="safe").load(lock.read_text())["stages"]
    paths = {entry["path"]: "nfiles" in entry for stage in stages.values() for entry in entries(stage)}
    for path, is_folder in paths.items():
        # A folder that holds outputs needs no file of its own.
        if any(other.startswith(f"{path}/") for other in paths):
            continue
        place = folder / path / "file" if is_folder else folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(path)
    pipeline = {
        # A matrix's name holds what a plain stage's may not.
        name.replace("@", "-"): {
            "cmd": "true",
            "deps": [entry["path"] for entry in stage.get("deps", [])],
            "outs": [entry["path"] for entry in stage.get("outs", [])],
        }
        for name, stage in stages.items()
    }
    with (folder / "dvc.yaml").open("w") as stream:
        YAML().dump({"stages": pipeline}, stream)
    # DVC would add a .gitignore to folders that are also dependencies.
    (folder / ".gitignore").write_text("".join(f"/{path}\n" for path in paths))
    for command in (["git", "init", "-q"], ["dvc", "init", "-q"], ["dvc", "config", "core.analytics", "false"]):
        run(folder, *command)
    run(folder, "dvc", "commit", "--force", "--quiet")
    return folder


def run(folder: Path, *command: str) -> None:
    whole = [sys.executable, "-m", *command] if command[0] == "dvc" else list(command)
    done = subprocess.run(whole, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stdout}{done.stderr}")


def entries(stage: dict[str, Any]) -> list[dict[str, Any]]:
    return [*stage.get("deps", []), *stage.get("outs", [])]


if __name__ == "__main__":
    main()
