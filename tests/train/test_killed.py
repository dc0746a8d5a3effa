"""A fine-tune that was killed (SIGKILL) ends, when started again, with the bytes of an undisturbed one."""

import random
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from radcap.train.log import read_log
from tests.train.stage_runs import KEYS, Starter, Workspace, workspace


@pytest.fixture(scope="module")
def starter() -> Iterator[Starter]:
    started = Starter()
    yield started
    started.close()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, starter: Starter) -> tuple[Workspace, dict[str, float]]:
    """A workspace in which both models are trained, and how many seconds each took."""
    made, seconds = workspace(tmp_path_factory.mktemp("undisturbed") / "work"), {}
    for key in KEYS:
        start = time.monotonic()
        starter.start(made.folder, key)
        assert starter.wait() == 0, made.output()
        seconds[key] = time.monotonic() - start
        assert not list((made.folder / "checkpoints/finetune" / key).glob("*/"))
        assert f"finetune {key}: the run is finished, its states in" in made.output()
    return made, seconds


@pytest.fixture
def fresh_workspace(tmp_path: Path, undisturbed) -> Workspace:
    made = undisturbed[0].twin(tmp_path / "work")
    for name in ("mlflow.db", "mlflow.lock"):
        (made.folder / name).unlink()
    return made


def killed_at(starter: Starter, work: Workspace, key: str, step: int, *, more: float = 0.0) -> None:
    """Run until a state of that step or a later one stands there, and so many seconds more; then kill."""
    child = starter.start(work.folder, key)
    while not any(int(path.name[5:]) >= step for path in work.states(key)):
        assert starter.poll() is None, work.output()
        time.sleep(0.005)
    time.sleep(more)
    starter.kill(child)


@pytest.mark.parametrize("key", [KEYS[0], pytest.param(KEYS[1], marks=pytest.mark.slow)])
def test_killed_twice_the_result_is_the_same(key: str, undisturbed, fresh_workspace: Workspace, starter) -> None:
    work = fresh_workspace
    for step in (2, 8):
        killed_at(starter, work, key, step)
    assert re.search(rf"finetune {key}: goes on from step \d+/12", work.output())
    starter.start(work.folder, key)
    assert starter.wait() == 0, work.output()
    assert re.search(rf"finetune {key}: goes on from step (8|9|1\d)/12", work.output())
    assert work.results(key) == undisturbed[0].results(key)
    assert {"log.csv", "audit.json"} < work.results(key).keys()
    assert not list((work.folder / "checkpoints/finetune" / key).glob("*/"))
    assert curve(work, key) == [
        (int(row["step"]), row["loss"]) for row in read_log(work.folder / "models" / key / "log.csv") if "loss" in row
    ]


def curve(work: Workspace, key: str) -> list[tuple[int, float]]:
    """The points of the one MLflow run."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{work.folder / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("radcap")
    (run,) = client.search_runs([experiment.experiment_id], f"tags.model = '{key}'")
    assert run.info.status == "FINISHED"
    return [(point.step, point.value) for point in client.get_metric_history(run.info.run_id, "train/loss")]


def test_a_changed_parameter_never_resumes_an_old_run(fresh_workspace: Workspace, starter: Starter) -> None:
    work, key = fresh_workspace, KEYS[0]
    killed_at(starter, work, key, 3)
    left = work.states(key)
    work.change("max_grad_norm: 1.0", "max_grad_norm: 0.5")
    starter.start(work.folder, key)
    assert starter.wait() == 0, work.output()
    assert "goes on from" not in work.output()
    # The old run may still be wanted: its state stays until nobody touched it for long.
    assert work.states(key) == left
    work.change("max_grad_norm: 0.5", "max_grad_norm: 1.0")
    work.change("keep_days: 14", "keep_days: 0")
    work.change("seed: 42", "seed: 43")
    starter.start(work.folder, key)
    assert starter.wait() == 0, work.output()
    old = left[0].parent.relative_to(work.folder)
    assert f"an older run was left 0 days ago, its states in {work.folder / old} are deleted" in work.output()
    assert work.states(key) == []


@pytest.mark.slow
@pytest.mark.parametrize("key", KEYS)
def test_killed_at_ten_random_moments(key: str, undisturbed, tmp_path: Path, starter: Starter) -> None:
    """Two moments fall anywhere between start and end, eight up to a tenth of a second after a random step."""
    made, seconds = undisturbed
    moments = random.Random(key)
    resumed = 0
    for number in range(10):
        work = made.twin(tmp_path / f"work{number}")
        if number < 2:
            child = starter.start(work.folder, key)
            time.sleep(moments.uniform(0.0, 1.0) * seconds[key])
            starter.kill(child)
        else:
            killed_at(starter, work, key, moments.randrange(1, 11), more=moments.uniform(0.0, 0.1))
        starter.start(work.folder, key)
        assert starter.wait() == 0, work.output()
        resumed += "goes on from" in work.output()
        assert work.results(key) == made.results(key)
    assert resumed >= 5
