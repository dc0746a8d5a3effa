"""MLflow runs are found again by what defines them, and survive processes that come at once."""

import subprocess
import sys
from pathlib import Path

import pytest

from radcap import tracking
from radcap.errors import UserError
from radcap.settings import Settings
from tests.models_for_tests import PARAMS, ROOT


def with_lora(**changes: object) -> Settings:
    return PARAMS.model_copy(update={"lora": PARAMS.lora.model_copy(update=changes)})


def test_a_fingerprint_changes_with_what_defines_the_run_alone() -> None:
    plain = tracking.fingerprint(PARAMS, "smolvlm_500m")
    assert tracking.fingerprint(with_lora(strategy="hybrid"), "smolvlm_500m") != plain
    assert tracking.fingerprint(PARAMS, "llava_1_5_7b") != plain
    assert tracking.fingerprint(PARAMS, "smolvlm_500m", prompt="modality") != plain
    full = tracking.fingerprint(PARAMS, "vision_gpt2")
    assert tracking.fingerprint(with_lora(strategy="hybrid"), "vision_gpt2") == full
    without = PARAMS.model_copy(update={"models": {"vision_gpt2": PARAMS.models["vision_gpt2"]}})
    assert tracking.fingerprint(without, "vision_gpt2") == full


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path


def test_finetune_and_score_share_a_run_and_a_new_finetune_replaces_it(workspace: Path) -> None:
    with tracking.run(PARAMS, "smolvlm_500m", fresh=True) as tuned:
        tuned.curve({"step": 1, "epoch": 0.1, "loss": 2.0})
        tuned.curve({"step": 2, "epoch": 0.2, "loss": 1.0, "learning_rate": 0.1})
    with tracking.run(PARAMS, "smolvlm_500m") as scored:
        assert not scored.is_new
        assert scored.run_id == tuned.run_id
        scored.scores({"rouge1": 0.5, "overall": None, "base": {"rouge1": 0.25}})
    found = scored.client.get_run(scored.run_id)
    assert found.info.status == "FINISHED"
    cost = {name: value for name, value in found.data.metrics.items() if name.startswith(tracking.COST)}
    scores = {"train/loss": 1.0, "train/learning_rate": 0.1, "rouge1": 0.5, "base.rouge1": 0.25}
    assert found.data.metrics == scores | cost
    assert tracking.costs(PARAMS, "smolvlm_500m") == {n.removeprefix(tracking.COST): v for n, v in cost.items()}
    assert cost["finetune/seconds"] < 60
    assert cost["finetune/peak_memory_mib"] > 50
    assert found.data.params["lora.strategy"] == PARAMS.lora.strategy
    with tracking.run(PARAMS, "smolvlm_500m", fresh=True) as again:
        assert again.run_id != tuned.run_id
    assert again.client.get_run(tuned.run_id).info.lifecycle_stage == "deleted"


def test_costs_are_looked_up_without_making_a_store(workspace: Path) -> None:
    assert tracking.costs(PARAMS, "smolvlm_500m") == {}
    assert list(workspace.iterdir()) == []
    with tracking.run(PARAMS, "smolvlm_500m") as scored:
        scored.scores({"rouge1": 0.5})
    assert tracking.costs(PARAMS, "smolvlm_500m") == {}
    assert tracking.costs(PARAMS, "llava_1_5_7b") == {}


def test_the_report_is_one_run_with_its_files_which_a_newer_one_replaces(workspace: Path) -> None:
    (workspace / "reports/tables").mkdir(parents=True)
    (workspace / "plots").mkdir()
    for name in ("reports/summary.md", "reports/tables/table1.tex", "plots/loss.csv"):
        (workspace / name).write_text(name)
    folders = [workspace / "reports", workspace / "plots"]
    first = tracking.publish(PARAMS, {"smolvlm_500m": {"overall": 0.5, "bleurt": None}}, folders)
    second = tracking.publish(PARAMS, {"smolvlm_500m": {"overall": 0.6}}, folders)
    with tracking.run(PARAMS, "smolvlm_500m") as other:
        client = other.client
    found = client.get_run(second)
    assert (found.info.status, found.info.run_name) == ("FINISHED", "aggregate")
    assert found.data.metrics == {"smolvlm_500m.overall": 0.6}
    assert client.get_run(first).info.lifecycle_stage == "deleted"
    listed = {
        entry.path
        for folder in ("reports", "reports/tables", "plots")
        for entry in client.list_artifacts(second, folder)
    }
    assert listed == {"reports/summary.md", "reports/tables", "reports/tables/table1.tex", "plots/loss.csv"}
    assert (workspace / "mlartifacts" / second / "artifacts/plots/loss.csv").read_text() == "plots/loss.csv"
    alpha = PARAMS.model_copy(update={"report": PARAMS.report.model_copy(update={"alpha": 0.01})})
    tracking.publish(alpha, {}, [])
    assert client.get_run(second).info.lifecycle_stage == "active"


def test_a_failed_block_is_a_failed_run(workspace: Path) -> None:
    with pytest.raises(RuntimeError), tracking.run(PARAMS, "smolvlm_500m") as failed:
        raise RuntimeError
    assert failed.client.get_run(failed.run_id).info.status == "FAILED"


def test_a_store_that_cannot_be_opened_is_one_line(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nowhere://at-all")
    with (
        pytest.raises(UserError, match=r"^MLflow store .* cannot be opened") as caught,
        tracking.run(PARAMS, "smolvlm_500m"),
    ):
        pass
    assert "\n" not in str(caught.value)


def test_processes_that_open_a_fresh_store_at_once_all_succeed(workspace: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from radcap import settings, tracking\n"
        f"params = settings.load(Path({str(ROOT)!r}))\n"
        "with tracking.run(params, sys.argv[1]) as run: run.scores({'x': 1.0})\n"
    )
    keys = list(PARAMS.models)[:3]
    running = [subprocess.Popen([sys.executable, "-c", code, key], stderr=subprocess.PIPE, text=True) for key in keys]
    for process in running:
        _, errors = process.communicate()
        assert process.returncode == 0, errors
    with tracking.run(PARAMS, keys[0]) as run:
        assert len(run.client.search_runs(["1"])) == len(keys)
