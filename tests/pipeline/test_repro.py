"""`radcap repro` over a real DVC pipeline of the project's stages, each of which is a line of shell here."""

import os
import pty
import re
import shutil
import signal
from pathlib import Path

import psutil
import pytest
from dvc.utils.serialize import modify_yaml

from radcap.launch.repro import AWAITED, STAGES
from tests.conftest import ROOT
from tests.pipeline.conftest import Project

KEY = "smolvlm_500m"
SHARED = ("resolve", "prepare", *AWAITED.values(), "aggregate")
LOOP = 'python -c "import time; from radcap.runtime.progress import track; [time.sleep(0.1) for _ in track(range(20), total=20, label={label!r})]"'


@pytest.fixture
def toy(tmp_path: Path) -> Project:
    """All stages of one model; each reads a file of its name and prints one line."""
    project = Project(tmp_path)
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    with modify_yaml(str(tmp_path / "params.yaml")) as tree:
        tree["models"] = [KEY]
    project.run("git", "init", "--quiet")
    project.run("dvc", "init", "--quiet")
    with modify_yaml(str(tmp_path / "dvc.yaml")) as tree:
        tree["stages"] = {name: stage(name) for name in SHARED}
        tree["stages"] |= {name: {"foreach": [KEY], "do": stage(name)} for name in STAGES}
    for name in (*SHARED, *STAGES):
        (tmp_path / f"{name}.txt").write_text(name)
    return project


def stage(name: str) -> dict[str, object]:
    return {"cmd": f"echo {name} speaks", "deps": [f"{name}.txt"]}


def set_command(project: Project, name: str, command: str) -> None:
    with modify_yaml(str(project.folder / "dvc.yaml")) as tree:
        (tree["stages"][name].get("do") or tree["stages"][name])["cmd"] = command


def test_every_line_names_its_stage(toy: Project) -> None:
    lines = toy.run("radcap", "repro").splitlines()
    stages = {*SHARED, *(f"{name}@{KEY}" for name in STAGES)}
    for name in stages:
        kind = name.partition("@")[0]
        own = [line.removeprefix(f"{name} | ") for line in lines if line.startswith(f"{name} | ")]
        assert own[:2] == ["runs", f"{kind} speaks".removeprefix(f"{kind} ")]
        assert re.fullmatch(r"done in (\d+ s|\d+:\d\d)", own[2])
    assert len(lines) == 3 * len(stages) + 1
    assert re.fullmatch(r"9 of 9 stages done, (\d+ s|\d+:\d\d)", lines[-1])
    (toy.folder / "aggregate.txt").write_text("changed")
    lines = toy.run("radcap", "repro").splitlines()
    assert {line.partition(" | ")[0] for line in lines[:-1]} == {"resolve", "aggregate"}
    assert lines[-1].startswith("9 of 9 stages done (8 were up to date), ")


def on_terminal(project: Project, *command: str) -> tuple[int, str]:
    """Exit code and what a terminal of 120 columns got."""
    parent, child = pty.openpty()
    process = project.start(*command, terminal=child, TERM="xterm", COLUMNS="120", LINES="40")
    os.close(child)
    shown = b""
    while True:
        try:
            shown += os.read(parent, 65536)
        except OSError:
            break
    os.close(parent)
    return process.wait(), shown.decode()


def test_a_terminal_shows_all_at_once_and_a_failure_after_it(toy: Project) -> None:
    set_command(toy, "scorers", LOOP.format(label="bertscore"))
    set_command(toy, "modality", "echo its own words >&2; exit 3")
    code, shown = on_terminal(toy, "radcap", "repro")
    assert code == 2
    drawn, red, rest = shown.partition("modality failed; its last lines:")
    assert red
    frames = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", drawn)
    assert re.search(r"lane \d +scorers +[━╸╺ ]+bertscore: (\d+ s left, )?\d+\.\d/s, \d+/20", frames)
    assert "prepare | speaks" in frames
    assert "modality | its own words" in frames
    assert not re.search(r"^(Running stage|> |Stage )", frames, re.MULTILINE)
    last = frames[frames.rindex(" of 9 stages done") :]
    for name, state in {"prepare": "done", "scorers": "done", "modality": "failed"}.items():
        assert re.search(rf"^{name} +{state}\s*$", last, re.MULTILINE)
    assert "its own words" in rest
    assert "failed to reproduce 'modality'" in rest
    assert rest.rstrip().endswith("radcap: error: modality failed; its own message stands above")
    assert "Traceback" not in shown


def test_a_failure_lets_the_other_lane_finish_and_starts_nothing_more(toy: Project) -> None:
    set_command(toy, "scorers", "sleep 3; echo finished")
    set_command(toy, "modality", "exit 3")
    lines = toy.run("radcap", "repro", code=2).splitlines()
    assert "scorers | finished" in lines
    assert not any(line.startswith(("generate", "score@", "aggregate")) for line in lines)
    assert lines[-1] == "radcap: error: modality failed; its own message stands above"


def lock(project: Project) -> None:
    """As another `dvc repro` does that runs prepare."""
    (project.folder / ".dvc/tmp").mkdir(exist_ok=True)
    info = f'{{"pid": {os.getpid()}, "cmd": "dvc repro"}}'
    (project.folder / ".dvc/tmp/rwlock").write_text(
        f'{{"read": {{"{project.folder}/prepare.txt": [{info}]}}, "write": {{"{project.folder}/prepare.txt": {info}}}}}'
    )


def conflict(project: Project) -> None:
    (project.folder / "dvc.lock").write_text("<<<<<<< HEAD\nschema: '2.0'\n=======\nstages: 3\n>>>>>>> theirs\n")


FAULTS = [
    (
        lambda project: (project.folder / "prepare.txt").unlink(),
        "prepare",
        ["failed to reproduce 'prepare': dependency 'prepare.txt' does not exist"],
    ),
    (lock, "dvc status", ["is busy, it is being blocked by:", f"(PID {os.getpid()}): dvc repro"]),
    (conflict, "resolve", ["'./dvc.lock' is invalid (possible merge conflicts)."]),
    (
        lambda project: (project.folder / "dvc.yaml").write_text("stages:\n  prepare:\n    cmds: echo\n"),
        "resolve",
        [
            "'./dvc.yaml' validation failed: 2 errors.",
            "extra keys not allowed, in stages -> prepare -> cmds, line 3, column 5",
        ],
    ),
]


@pytest.mark.parametrize(("harm", "what", "words"), FAULTS, ids=["missing", "busy", "conflict", "invalid"])
def test_dvcs_own_words_stand_above_the_error(toy: Project, harm, what: str, words: list[str]) -> None:
    harm(toy)
    output = toy.run("radcap", "repro", code=2)
    rest = output.partition(f"{what} failed; its last lines:\n")[2]
    for text in words:
        assert text in rest
    assert rest.splitlines()[-1] == f"radcap: error: {what} failed; its own message stands above"
    assert "Traceback" not in output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_dvc_and_its_stages(toy: Project, number: signal.Signals) -> None:
    set_command(toy, "prepare", "echo sleeps; sleep 60; echo woke")
    process = toy.start("radcap", "repro")
    assert process.stdout
    assert any(line == "prepare | sleeps\n" for line in process.stdout)
    started: list[psutil.Process] = []
    while "sleep" not in {child.name() for child in started}:
        started = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(number)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert psutil.wait_procs(started, timeout=5)[1] == []
    how = "interrupted" if number == signal.SIGINT else "ended by SIGTERM"
    assert output == f"radcap: {how}; nothing half-written is left behind\n"
