"""Stage generate as a process: several of them, and one that is killed."""

import signal
import time
from pathlib import Path

from radcap.caption.lines import read
from tests.pipeline.conftest import Project

KEY = "smolvlm_500m"


def run(project: Project) -> dict[str, bytes]:
    project.run("python", "stages/generate.py", KEY, PYTHONPATH="src")
    return project.results(f"captions/{KEY}")


def texts(folder: Path) -> dict[str, list[tuple[str, str]]]:
    return {path.stem: [(one.id, one.raw) for one in read(path)] for path in sorted(folder.glob("*.jsonl"))}


def test_two_processes_write_the_same_bytes(project: Project) -> None:
    folder = project.folder / "captions" / KEY
    wanted = texts(folder)
    assert list(wanted) == ["base", "modality", "plain"]
    # Two batches a variant, so that both have work.
    project.change("profiles.sample.generate.batch_size", 8)
    project.change("profiles.sample.generate.processes", 2)
    by_two = run(project)
    assert texts(folder) == wanted
    project.change("profiles.sample.generate.processes", 1)
    assert run(project) == by_two
    project.restore()
    project.run("dvc", "checkout", "--force")


def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(project: Project) -> None:
    wanted = project.results(f"captions/{KEY}")
    parts = project.folder / "checkpoints/generate" / KEY
    process = project.start("python", "stages/generate.py", KEY, PYTHONPATH="src")
    deadline = time.monotonic() + 120
    while not any(path.stat().st_size for path in parts.rglob("*.jsonl")) and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert list(parts.rglob("plain.*.jsonl"))
    assert project.results("captions").keys() >= wanted.keys()
    assert run(project) == wanted
    assert not list(parts.glob("*"))
    project.run("dvc", "checkout", "--force")
