"""DVC commands as child processes. Their output goes to the display, and their errors are shown in full."""

from __future__ import annotations

import json
import os
import re
import sys
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from subprocess import PIPE, STDOUT

from radcap.launch.children import Children
from radcap.launch.display import Display
from radcap.runtime import progress

DVC = [sys.executable, "-m", "dvc", "--wait-for-lock"]
# Number of lines that are shown again when a stage fails: enough for a usual traceback and DVC's own message.
LAST = 40

RUNS = re.compile(r"Running stage '(.+)':$")
SKIPS = re.compile(r"Stage '(.+)' (?:didn't change, skipping|is cached - skipping run, checking out outputs)$")
# What DVC prints for every stage.
ROUTINE = re.compile(
    r"> .*|(?:Updating|Generating) lock file '.*'|Data and pipelines are up to date\."
    r"|To track the changes with git, run:|\tgit add .*"
    r"|To enable auto staging, run:|\tdvc config core\.autostage true|Use `dvc push` to .*"
    # The page contains its images itself as long as they are few.
    r"|WARNING: 'reports/images' is empty\."
)


class DvcFailed(Exception):
    """A DVC command ended with an error."""

    def __init__(self, name: str, lines: Iterable[str]) -> None:
        super().__init__(name)
        self.name, self.lines = name, list(lines)


class Dvc:
    """Runs DVC commands as children. `scratch` is a folder for the progress files of their stages."""

    def __init__(self, children: Children, display: Display, scratch: Path) -> None:
        self.children, self.display, self.scratch = children, display, scratch

    def changed(self) -> set[str]:
        """The names of all stages that are not up to date."""
        # DVC shortens long lines when it reports broken files.
        environment = os.environ | {"COLUMNS": "200"}
        with self.children.started([*DVC, "status", "--json"], stdout=PIPE, stderr=PIPE, env=environment) as process:
            output, errors = process.communicate()
        if process.returncode:
            raise DvcFailed("dvc status", map(str.rstrip, errors.strip().splitlines()))
        return set(json.loads(output.splitlines()[-1]))

    def repro(self, stage: str, *, lane: int, whole: bool = False) -> None:
        """Bring one stage up to date, or with `whole` the whole pipeline."""
        # One stage per command: between several stages DVC keeps its lock, and other lanes would have to wait.
        command = [*DVC, "repro", *([] if whole else ["--single-item", stage])]
        file = self.scratch / f"lane-{lane}.json"
        # Show each line when it is written, not when a buffer is full.
        environment = os.environ | {"PYTHONUNBUFFERED": "1"}
        if self.display.live:
            environment[progress.VARIABLE] = str(file)
        last: deque[str] = deque(maxlen=LAST)
        current = stage
        self.display.check(stage, lane, file)
        with self.children.started(command, stdout=PIPE, stderr=STDOUT, errors="replace", env=environment) as process:
            assert process.stdout
            for line in filter(None, map(str.rstrip, process.stdout)):
                if skips := SKIPS.match(line):
                    self.display.end(skips[1], lane, "up to date")
                elif runs := RUNS.match(line):
                    if self.display.states.get(current) == "running":
                        self.display.end(current, lane, "done")
                    current = runs[1]
                    self.display.run(current, lane, file)
                elif not (ROUTINE.fullmatch(line) or self.children.signal):
                    last.append(line)
                    self.display.line(current, line)
        self.display.end(current, lane, "failed" if process.returncode else "done")
        if process.returncode:
            raise DvcFailed(current, last)
