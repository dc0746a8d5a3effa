"""A small copy of the project as a real DVC repository of its own."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT

# One model of each tuning: what a pipeline does with two models it does with ten.
LORA_KEYS, FULL_KEYS = ("smolvlm_500m",), ("vision_gpt2",)
KEYS = (*LORA_KEYS, *FULL_KEYS)
# {file: {dotted key: value}}
SMALL: dict[str, dict[str, Any]] = {
    "params.yaml": {
        "profiles.sample.lora.epochs": 2.0,
        "profiles.sample.lora.batch_size": 8,
        "profiles.sample.full.epochs": 2.0,
        "profiles.sample.full.batch_size": 8,
        "profiles.sample.modality.epochs": 1,
        "profiles.sample.modality.batch_size": 16,
        "generate.max_new_tokens": 12,
        "report.resamples": 200,
        "models": list(KEYS),
    },
    "configs/miniatures.yaml": {
        **{f"phantoms.{split}": count for split, count in (("train", 48), ("valid", 12), ("test", 16))},
        **{f"general.{kind}": 24 for kind in ("pictures", "diagrams")},
        "pretrain.steps": 6,
        "pretrain.batch_size": 8,
        "scorers.steps.similarity": 3,
        **{f"scorers.steps.{metric}": 5 for metric in ("bertscore", "bleurt", "alignscore")},
    },
}


@dataclass(frozen=True)
class Project:
    """A project folder and what its commands see."""

    folder: Path

    def start(self, *command: str, terminal: int | None = None, **environment: str) -> "subprocess.Popen[str]":
        """Output and errors go to a pipe, or to a terminal of that file descriptor."""
        env = {name: value for name, value in os.environ.items() if not name.startswith(("DVC_", "MLFLOW_", "GIT_"))}
        env |= {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}", "HF_HUB_OFFLINE": "1", **environment}
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=env,
            stdout=subprocess.PIPE if terminal is None else terminal,
            stderr=subprocess.STDOUT,
            text=True,
            # Ctrl-C reaches it, also where tests run in the background of a script, which ignores it.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def run(self, *command: str, code: int | None = 0, **environment: str) -> str:
        """Run to the end; output and errors together. `code` None: any."""
        process = self.start(*command, **environment)
        output, _ = process.communicate()
        assert code is None or process.returncode == code, f"{command} ended {process.returncode}:\n{output[-4000:]}"
        return output

    def change(self, place: str, value: Any) -> None:
        """Set a key, of params.yaml or as FILE:KEY, as `dvc exp run -S` does."""
        from dvc.utils.serialize import modify_yaml

        name, _, dotted = place.rpartition(":")
        with modify_yaml(str(self.folder / (name or "params.yaml"))) as tree:
            *parents, last = dotted.split(".")
            for part in parents:
                tree = tree[part]
            tree[last] = value

    def resolved(self) -> dict[str, Any]:
        """What `resolve` finds each stage to depend on."""
        program = (
            "import json; from radcap import settings; from radcap.pipeline import resolve; "
            "print(json.dumps(resolve.everything(settings.load())))"
        )
        return json.loads(self.run("python", "-c", program, PYTHONPATH="src"))

    def status(self) -> set[str]:
        """The stages that a change reaches, once `resolve` has worked out what each depends on."""
        self.run("dvc", "repro", "resolve")
        return set(json.loads(self.run("dvc", "status", "--json").splitlines()[-1]))

    def commit(self, message: str) -> None:
        self.run("git", "add", "--all")
        self.run("git", "-c", "user.name=test", "-c", "user.email=test@localhost", "commit", "--quiet", "-m", message)

    def restore(self) -> None:
        self.run("git", "checkout", "--quiet", "--", ".")

    def results(self, *folders: str) -> dict[str, bytes]:
        """{path: bytes} of every file below the folders."""
        files = [path for name in folders for path in sorted((self.folder / name).rglob("*")) if path.is_file()]
        return {path.relative_to(self.folder).as_posix(): path.read_bytes() for path in files}


def copy(folder: Path, *, small: bool = True) -> Project:
    """The working tree as git sees it (tracked files and new ones), committed in a repository of its own."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout.decode()
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    project = Project(folder)
    if small:
        for name, values in SMALL.items():
            for key, value in values.items():
                project.change(f"{name}:{key}", value)
    project.run("git", "init", "--quiet", "--initial-branch=main")
    project.commit("small")
    return project


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[Project, str]:
    """Two small projects and what their runs printed: one by `dvc repro`, one by `radcap repro`; both committed."""
    folders = (tmp_path_factory.mktemp(name) for name in ("first", "second"))
    commands = (("dvc", "repro"), ("radcap", "repro", "--jobs", "2"))
    running = [
        (project := copy(folder), project.start(*command)) for folder, command in zip(folders, commands, strict=True)
    ]
    outputs = {}
    for project, process in running:
        outputs[project], _ = process.communicate()
        assert process.returncode == 0, outputs[project][-4000:]
        project.commit("results")
    return outputs


@pytest.fixture(scope="session")
def clones(built: dict[Project, str]) -> tuple[Project, Project]:
    """Two small projects with their results: of `dvc repro`, and of `radcap repro`."""
    first, second = built
    return first, second


@pytest.fixture
def project(clones: tuple[Project, Project]) -> Iterator[Project]:
    """The first small project, with its results, restored afterwards."""
    yield clones[0]
    clones[0].restore()
