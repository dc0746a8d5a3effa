"""Fine-tuning that was killed (SIGKILL) and started again gives the same bytes as an uninterrupted run."""

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
    starter = Starter()
    yield starter
    starter.close()


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory, starter: Starter) -> tuple[Workspace, dict[str, float]]:
    """A workspace in which both models are fine-tuned, and the seconds that each took."""
    work, seconds = workspace(tmp_path_factory.mktemp("uninterrupted") / "work"), {}
    for key in KEYS:
        start = time.monotonic()
        starter.start(work.folder, key)
        assert starter.wait() == 0, work.output()
        seconds[key] = time.monotonic() - start
        assert not list((work.folder / "checkpoints/finetune" / key).glob("*/"))
        assert f"finetune {key}: training is finished; deleting its checkpoints in" in work.output()
    return work, seconds


@pytest.fixture
def fresh_workspace(tmp_path: Path, uninterrupted) -> Workspace:
    work = uninterrupted[0].copy_to(tmp_path / "work")
    for name in ("mlflow.db", "mlflow.lock"):
        (work.folder / name).unlink()
    return work


def kill_at(starter: Starter, work: Workspace, key: str, step: int, *, more: float = 0.0) -> None:
    """Run until there is a checkpoint of that step or a later one, wait `more` seconds, then kill the run."""
    child = starter.start(work.folder, key)
    while not any(int(path.name[5:]) >= step for path in work.checkpoints(key)):
        assert starter.poll() is None, work.output()
        time.sleep(0.005)
    time.sleep(more)
    starter.kill(child)


@pytest.mark.parametrize("key", [KEYS[0], pytest.param(KEYS[1], marks=pytest.mark.slow)])
def test_a_run_that_was_killed_twice_has_the_same_result(
    key: str, uninterrupted, fresh_workspace: Workspace, starter
) -> None:
    work = fresh_workspace
    for step in (2, 8):
        kill_at(starter, work, key, step)
    assert re.search(rf"finetune {key}: resumes from step \d+/12", work.output())
    starter.start(work.folder, key)
    assert starter.wait() == 0, work.output()
    assert re.search(rf"finetune {key}: resumes from step (8|9|1\d)/12", work.output())
    assert work.results(key) == uninterrupted[0].results(key)
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


def test_a_run_with_a_changed_parameter_does_not_resume_an_old_one(
    fresh_workspace: Workspace, starter: Starter
) -> None:
    work, key = fresh_workspace, KEYS[0]
    kill_at(starter, work, key, 3)
    old_checkpoints = work.checkpoints(key)
    work.change("max_grad_norm: 1.0", "max_grad_norm: 0.5")
    starter.start(work.folder, key)
    assert starter.wait() == 0, work.output()
    assert "resumes from" not in work.output()
    # The old run may still be needed, so its checkpoint stays until it has been unused for long.
    assert work.checkpoints(key) == old_checkpoints
    work.change("max_grad_norm: 0.5", "max_grad_norm: 1.0")
    work.change("keep_days: 14", "keep_days: 0")
    work.change("seed: 42", "seed: 43")
    starter.start(work.folder, key)
    assert starter.wait() == 0, work.output()
    old_run = old_checkpoints[0].parent.relative_to(work.folder)
    message = f"an older run has been unused for 0 days; deleting its checkpoints in {work.folder / old_run}"
    assert message in work.output()
    assert work.checkpoints(key) == []


@pytest.mark.slow
@pytest.mark.parametrize("key", KEYS)
def test_killed_at_ten_random_moments(key: str, uninterrupted, tmp_path: Path, starter: Starter) -> None:
    """Two moments are anywhere between start and end, eight are up to 0.1 seconds after a random step."""
    finished, seconds = uninterrupted
    moments = random.Random(key)
    resumed = 0
    for number in range(10):
        work = finished.copy_to(tmp_path / f"work{number}")
        if number < 2:
            child = starter.start(work.folder, key)
            time.sleep(moments.uniform(0.0, 1.0) * seconds[key])
            starter.kill(child)
        else:
            kill_at(starter, work, key, moments.randrange(1, 11), more=moments.uniform(0.0, 0.1))
        starter.start(work.folder, key)
        assert starter.wait() == 0, work.output()
        resumed += "resumes from" in work.output()
        assert work.results(key) == finished.results(key)
    assert resumed >= 5
