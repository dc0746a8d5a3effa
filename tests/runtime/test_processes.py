"""Two processes that train together have the same losses as one; an error in any of them is one clear line."""

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from radcap.errors import UserError
from radcap.runtime.processes import _forward, launch
from radcap.train.fit import fit
from radcap.train.log import read_log
from radcap.train.recipe import Recipe
from tests.conftest import ROOT
from tests.train.stage_runs import KEYS, Workspace, workspace
from tests.train.test_fit import RECIPE

# Relative and absolute tolerance after twelve steps of Adam: only the order in which gradients are summed differs.
LOSSES, WEIGHTS = 1e-4, 2e-3


def stage(work: Workspace, key: str) -> subprocess.CompletedProcess[str]:
    env = {n: v for n, v in os.environ.items() if not n.startswith(("DVC_", "MLFLOW_"))}
    env |= {"PYTHONPATH": str(ROOT / "src"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(ROOT / "stages/finetune.py"), key]
    return subprocess.run(command, cwd=work.folder, env=env, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("key", [KEYS[0], pytest.param(KEYS[1], marks=pytest.mark.slow)])
def test_two_processes_learn_what_one_does(key: str, tmp_path: Path) -> None:
    """26 rows in batches of 4: the last batch of an epoch has two rows, which fill one process's micro-batch."""
    one = workspace(tmp_path / "one", rows=26, dropout=0.0)
    two = one.copy_to(tmp_path / "two")
    two.change("  processes: 1", "  processes: 2")
    runs = [stage(work, key) for work in (one, two)]
    assert [run.returncode for run in runs] == [0, 0], runs[1].stderr[-3000:]
    # Only one process prints and writes.
    assert runs[1].stdout.count(f"finetune {key}: training is finished") == 1
    logs = [read_log(work.folder / "models" / key / "log.csv") for work in (one, two)]
    assert [row.keys() for row in logs[0]] == [row.keys() for row in logs[1]]
    for name in ("loss", "valid_loss", "learning_rate"):
        curves = [[row[name] for row in log if name in row] for log in logs]
        assert curves[1] == pytest.approx(curves[0], rel=LOSSES)
    name = "adapter_model.safetensors" if key == KEYS[0] else "model.safetensors"
    weights = [load_file(work.folder / "models" / key / name) for work in (one, two)]
    assert all(torch.allclose(weights[0][n], weights[1][n], atol=WEIGHTS) for n in weights[0])
    assert (two.folder / f"runs/finetune@{key}.json").exists()


@pytest.mark.slow
def test_an_error_in_one_process_ends_all_with_its_message(tmp_path: Path) -> None:
    work = workspace(tmp_path / "work", rows=8, dropout=0.0)
    work.change("  processes: 1", "  processes: 2")
    work.change("max_grad_norm: 1.0", "max_grad_norm: 1.0e+30")
    work.change("      learning_rate: 0.005", "      learning_rate: 0.9")
    work.change("    adapters: 1.0", "    adapters: 1.0e+30")
    run = stage(work, KEYS[0])
    assert run.returncode == 2
    errors = [line for line in run.stderr.splitlines() if line.startswith("radcap: error: ")]
    assert len(errors) == 1
    expected = (
        rf"radcap: error: finetune {KEYS[0]}: the loss is nan at step 2 \(learning rate [\d.]+, images train\d, .*"
    )
    assert re.fullmatch(expected, errors[0])
    assert "Traceback" not in run.stderr
    assert not (work.folder / "models" / KEYS[0]).exists()


def test_only_the_first_error_is_reported(capsys) -> None:
    lines = io.StringIO("a warning\nradcap: error: too hot\nTraceback of the launcher\nradcap: error: peer closed\n")
    assert _forward(lines) == "too hot"
    assert capsys.readouterr().err == "a warning\n"
    assert _forward(io.StringIO("Traceback\n")) is None


@pytest.mark.parametrize(("name", "kind", "processes"), [("fsdp", "FSDP", 8), ("two-nodes", "MULTI_GPU", 16)])
def test_accelerate_reads_the_documented_configurations(name: str, kind: str, processes: int) -> None:
    from accelerate.commands.config.config_args import load_config_from_file

    config = load_config_from_file(str(ROOT / f"docs/accelerate/{name}.yaml"))
    assert (config.distributed_type.value, config.num_processes) == (kind, processes)


def test_unsupported_options_under_fsdp_are_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("radcap.runtime.processes.uses_fsdp", lambda: True)
    recipe = Recipe(**RECIPE.__dict__ | {"select_by": "valid_loss"})
    with pytest.raises(UserError, match=r"^train.select_by: 'valid_loss' does not work with FSDP; set it to last$"):
        fit(None, None, None, recipe, label="x")


def test_a_missing_configuration_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with pytest.raises(UserError, match=r"^train.accelerate: no file 'gone.yaml'; give a configuration file of"):
        launch("stages/finetune.py", "x", processes=1, config="gone.yaml")
