"""Two processes that train together give the losses of one at the same batches; one line tells what went wrong."""

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
from radcap.processes import _forward, launch
from radcap.train.fit import fit
from radcap.train.log import read_log
from radcap.train.order import Order
from radcap.train.recipe import Recipe
from tests.conftest import ROOT
from tests.train.stage_runs import KEYS, Workspace, workspace
from tests.train.test_fit import RECIPE

# The order in which gradients are summed differs; after twelve steps of Adam that is all that differs.
LOSSES, WEIGHTS = 1e-4, 2e-3


def stage(work: Workspace, key: str) -> subprocess.CompletedProcess[str]:
    env = {n: v for n, v in os.environ.items() if not n.startswith(("DVC_", "MLFLOW_"))}
    env |= {"PYTHONPATH": str(ROOT / "src"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(ROOT / "stages/finetune.py"), key]
    return subprocess.run(command, cwd=work.folder, env=env, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("key", [KEYS[0], pytest.param(KEYS[1], marks=pytest.mark.slow)])
def test_two_processes_learn_what_one_does(key: str, tmp_path: Path) -> None:
    """26 rows in batches of 4: the last batch of an epoch is two rows, which one process takes alone."""
    one = workspace(tmp_path / "one", rows=26, dropout=0.0)
    two = one.twin(tmp_path / "two")
    two.change("  processes: 1", "  processes: 2")
    done = [stage(work, key) for work in (one, two)]
    assert [each.returncode for each in done] == [0, 0], done[1].stderr[-3000:]
    # One process prints, and one writes.
    assert done[1].stdout.count(f"finetune {key}: the run is finished") == 1
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
    done = stage(work, KEYS[0])
    assert done.returncode == 2
    told = [line for line in done.stderr.splitlines() if line.startswith("radcap: error: ")]
    assert len(told) == 1
    of_step = (
        rf"radcap: error: finetune {KEYS[0]}: the loss is nan at step 2 \(learning rate [\d.]+, images train\d, .*"
    )
    assert re.fullmatch(of_step, told[0])
    assert "Traceback" not in done.stderr
    assert not (work.folder / "models" / KEYS[0]).exists()


def test_other_processes_deaths_are_not_told(capsys) -> None:
    lines = io.StringIO("a warning\nradcap: error: too hot\nTraceback of the launcher\nradcap: error: peer closed\n")
    assert _forward(lines) == "too hot"
    assert capsys.readouterr().err == "a warning\n"
    assert _forward(io.StringIO("Traceback\n")) is None


@pytest.mark.parametrize(
    ("whole", "processes", "expected"),
    [((16, 1), 2, (8, 1)), ((8, 2), 2, (8, 1)), ((4, 3), 2, (3, 2)), ((8, 4), 8, (4, 1)), ((16, 1), 1, (16, 1))],
)
def test_a_batch_is_shared_in_equal_parts(whole, processes: int, expected) -> None:
    size, accumulation = whole
    recipe = Recipe(**RECIPE.__dict__ | {"batch_size": size, "accumulation": accumulation})
    shared = recipe.shared(processes)
    assert (shared.batch_size, shared.accumulation) == expected
    assert shared.batch_size * shared.accumulation * processes == size * accumulation


def test_a_batch_that_cannot_be_shared_is_one_clear_line() -> None:
    with pytest.raises(
        UserError, match=r"^train.processes: 3 cannot share a batch of 4 x 1; batch_size \* accumulation"
    ):
        RECIPE.shared(3)


def test_the_last_batch_is_filled_with_rows_of_which_nothing_is_learned() -> None:
    order = Order([3, 1, 2, 5, 4], batch_size=4, seed=0, parts=4)
    drawn = list(order)
    assert len(drawn) == len(order) == 8
    assert sorted(drawn[:5]) == list(range(5))
    # Row 1 is the shortest.
    assert drawn[5:] == [-2, -2, -2]


@pytest.mark.parametrize(("name", "kind", "processes"), [("fsdp", "FSDP", 8), ("two-nodes", "MULTI_GPU", 16)])
def test_accelerate_reads_the_documented_configurations(name: str, kind: str, processes: int) -> None:
    from accelerate.commands.config.config_args import load_config_from_file

    config = load_config_from_file(str(ROOT / f"docs/accelerate/{name}.yaml"))
    assert (config.distributed_type.value, config.num_processes) == (kind, processes)


def test_what_a_sharded_run_cannot_do_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("radcap.processes.sharded", lambda: True)
    recipe = Recipe(**RECIPE.__dict__ | {"select_by": "valid_loss"})
    with pytest.raises(UserError, match=r"^train.select_by: 'valid_loss' does not work under FSDP; set it to last$"):
        fit(None, None, None, recipe, label="x")


def test_a_configuration_that_is_not_there_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with pytest.raises(UserError, match=r"^train.accelerate: no file 'gone.yaml'; it names a configuration of"):
        launch("stages/finetune.py", "x", processes=1, config="gone.yaml")
