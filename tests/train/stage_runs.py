"""Runs the real stage script in a small workspace, any number of times: one process imports, and its forks run."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from radcap.data import store
from radcap.models import base
from tests.conftest import ROOT, copy_settings, png
from tests.models_for_tests import PARAMS, fresh

KEYS = ("smolvlm_500m", "vision_gpt2")
SENTENCE = "CT of the chest with a nodule in the left lung and a tumor on the right side of the brain"
RESULTS = ("log.csv", "audit.json", "adapter_model.safetensors", "model.safetensors", "adapter_config.json")
# Reads lines (folder, output file, stage script, model key), runs each in its own fork, and answers with the process id.
STARTER = """
import os, runpy, sys
import peft, transformers, mlflow.tracking, radcap.train.fit, radcap.models.families.smolvlm
import radcap.models.families.vision_gpt2
print("ready", flush=True)
for line in sys.stdin:
    folder, output, script, key = line.split()
    child = os.fork()
    if not child:
        os.setsid()
        os.chdir(folder)
        out = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(out, 1), os.dup2(out, 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        sys.argv = [script, key]
        code = 0
        try:
            runpy.run_path(script, run_name="__main__")
        except SystemExit as end:
            code = end.code or 0
        finally:
            sys.stdout.flush(), sys.stderr.flush()
            os._exit(code)
    print(child, flush=True)
    # The next lines may ask whether it has ended.
    answer = sys.stdin.readline().split()
    while answer and answer[0] == "poll":
        pid, status = os.waitpid(child, os.WNOHANG)
        print("running" if not pid else os.waitstatus_to_exitcode(status), flush=True)
        if pid:
            break
        answer = sys.stdin.readline().split()
"""


class Starter:
    """Runs one stage at a time. `kill` ends it like kill -9."""

    def __init__(self) -> None:
        names = {name: value for name, value in os.environ.items() if not name.startswith(("DVC_", "MLFLOW_"))}
        env = names | {"PYTHONPATH": str(ROOT / "src"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
        pipe = subprocess.PIPE
        self.process = subprocess.Popen([sys.executable, "-c", STARTER], stdin=pipe, stdout=pipe, env=env, text=True)
        assert self._answer() == "ready"

    def _say(self, line: str) -> str:
        assert self.process.stdin
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def start(self, folder: Path, key: str) -> int:
        output = folder / "output.txt"
        output.unlink(missing_ok=True)
        return int(self._say(f"{folder} {output} {ROOT / 'stages/finetune.py'} {key}"))

    def poll(self) -> int | None:
        """The exit code of the run, negative for a signal, or None while it runs."""
        answer = self._say("poll")
        return None if answer == "running" else int(answer)

    def wait(self) -> int:
        while (code := self.poll()) is None:
            time.sleep(0.02)
        return code

    def kill(self, child: int) -> None:
        os.kill(child, signal.SIGKILL)
        assert self.wait() in (-signal.SIGKILL, 0)

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()


@dataclass(frozen=True)
class Workspace:
    """A folder with everything that the stage reads: two base models, and two splits."""

    folder: Path

    def checkpoints(self, key: str) -> list[Path]:
        return sorted(self.folder.glob(f"checkpoints/finetune/{key}/*/step-*"))

    def results(self, key: str) -> dict[str, bytes]:
        folder = self.folder / "models" / key
        return {name: (folder / name).read_bytes() for name in RESULTS if (folder / name).exists()}

    def output(self) -> str:
        return (self.folder / "output.txt").read_text()

    def change(self, old: str, new: str) -> None:
        path = self.folder / "params.yaml"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    def copy_to(self, folder: Path) -> Workspace:
        shutil.copytree(self.folder, folder)
        return Workspace(folder)


def workspace(folder: Path, *, rows: int = 24, dropout: float = 0.1) -> Workspace:
    """24 training and 6 validation rows; two epochs in batches of four, with a checkpoint after each batch."""
    for name, count in (("train", rows), ("valid", 6)):
        texts = [" ".join(SENTENCE.split()[: 1 + i % 12]) for i in range(count)]
        examples = [
            store.Row(id=f"{name}{i}", image=png(i), caption=t, raw_caption=t, cuis=(), width=40, height=32, sha256="")
            for i, t in enumerate(texts)
        ]
        (folder / "data").mkdir(parents=True, exist_ok=True)
        store.write(folder / "data" / f"{name}.arrow", examples)
    for key in KEYS:
        (folder / "models/base").mkdir(parents=True, exist_ok=True)
        base.save_miniature(fresh(key), folder / "models/base" / key, family_name=PARAMS.models[key].family)
    copy_settings(folder)
    workspace = Workspace(folder)
    workspace.change(
        "    lora:\n      epochs: 3.0\n      batch_size: 16", "    lora:\n      epochs: 2.0\n      batch_size: 4"
    )
    workspace.change(
        "    full:\n      epochs: 2.5\n      batch_size: 16", "    full:\n      epochs: 2.0\n      batch_size: 4"
    )
    workspace.change("every_steps: 0", "every_steps: 1")
    workspace.change("  dropout: profile", f"  dropout: {dropout}")
    return workspace
