"""MLflow runs are found again by their settings, also by several processes at the same time."""

import subprocess
import sys
from pathlib import Path

import pytest

from radcap.errors import UserError
from radcap.runtime import tracking
from radcap.settings import Settings
from tests.models_for_tests import PARAMS, ROOT


def with_lora(**changes: object) -> Settings:
    return PARAMS.model_copy(update={"lora": PARAMS.lora.model_copy(update=changes)})


def test_a_fingerprint_depends_only_on_the_settings_that_define_the_run() -> None:
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
    with tracking.run(PARAMS, "smolvlm_500m", replace=True) as tuned:
        tuned.log_training_row({"step": 1, "epoch": 0.1, "loss": 2.0})
        tuned.log_training_row({"step": 2, "epoch": 0.2, "loss": 1.0, "learning_rate": 0.1})
    with tracking.run(PARAMS, "smolvlm_500m") as scored:
        assert not scored.is_new
        assert scored.run_id == tuned.run_id
        scored.log_scores({"rouge1": 0.5, "overall": None, "base": {"rouge1": 0.25}})
    stored = scored.client.get_run(scored.run_id)
    assert stored.info.status == "FINISHED"
    cost = {name: value for name, value in stored.data.metrics.items() if name.startswith(tracking.COST)}
    scores = {"train/loss": 1.0, "train/learning_rate": 0.1, "rouge1": 0.5, "base.rouge1": 0.25}
    assert stored.data.metrics == scores | cost
    assert tracking.training_cost(PARAMS, "smolvlm_500m") == {n.removeprefix(tracking.COST): v for n, v in cost.items()}
    assert cost["finetune/seconds"] < 60
    assert cost["finetune/peak_memory_mib"] > 50
    assert stored.data.params["lora.strategy"] == PARAMS.lora.strategy
    with tracking.run(PARAMS, "smolvlm_500m", replace=True) as again:
        assert again.run_id != tuned.run_id
    assert again.client.get_run(tuned.run_id).info.lifecycle_stage == "deleted"


def test_costs_are_looked_up_without_creating_a_store(workspace: Path) -> None:
    assert tracking.training_cost(PARAMS, "smolvlm_500m") == {}
    assert list(workspace.iterdir()) == []
    with tracking.run(PARAMS, "smolvlm_500m") as scored:
        scored.log_scores({"rouge1": 0.5})
    assert tracking.training_cost(PARAMS, "smolvlm_500m") == {}
    assert tracking.training_cost(PARAMS, "llava_1_5_7b") == {}


def test_the_report_is_one_run_with_its_files_and_replaces_an_older_one(workspace: Path) -> None:
    (workspace / "reports/tables").mkdir(parents=True)
    (workspace / "plots").mkdir()
    for name in ("reports/summary.md", "reports/tables/table1.tex", "plots/loss.csv"):
        (workspace / name).write_text(name)
    folders = [workspace / "reports", workspace / "plots"]
    first = tracking.log_report(PARAMS, {"smolvlm_500m": {"overall": 0.5, "bleurt": None}}, folders)
    second = tracking.log_report(PARAMS, {"smolvlm_500m": {"overall": 0.6}}, folders)
    with tracking.run(PARAMS, "smolvlm_500m") as other:
        client = other.client
    stored = client.get_run(second)
    assert (stored.info.status, stored.info.run_name) == ("FINISHED", "aggregate")
    assert stored.data.metrics == {"smolvlm_500m.overall": 0.6}
    assert client.get_run(first).info.lifecycle_stage == "deleted"
    listed = {
        entry.path
        for folder in ("reports", "reports/tables", "plots")
        for entry in client.list_artifacts(second, folder)
    }
    assert listed == {"reports/summary.md", "reports/tables", "reports/tables/table1.tex", "plots/loss.csv"}
    assert (workspace / "mlartifacts" / second / "artifacts/plots/loss.csv").read_text() == "plots/loss.csv"
    assert not list((workspace / "mlartifacts" / first).rglob("*.*"))
    assert tracking.log_report(PARAMS, {"smolvlm_500m": {"overall": 0.6}}, folders) == second
    alpha = PARAMS.model_copy(update={"report": PARAMS.report.model_copy(update={"alpha": 0.01})})
    tracking.log_report(alpha, {}, [])
    assert client.get_run(second).info.lifecycle_stage == "active"


def test_an_error_in_the_block_fails_the_run(workspace: Path) -> None:
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


def test_processes_that_open_a_new_store_at_the_same_time_all_succeed(workspace: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from radcap import settings; from radcap.runtime import tracking\n"
        f"params = settings.load(Path({str(ROOT)!r}))\n"
        "with tracking.run(params, sys.argv[1]) as run: run.log_scores({'x': 1.0})\n"
    )
    keys = list(PARAMS.models)[:3]
    running = [subprocess.Popen([sys.executable, "-c", code, key], stderr=subprocess.PIPE, text=True) for key in keys]
    for process in running:
        _, errors = process.communicate()
        assert process.returncode == 0, errors
    with tracking.run(PARAMS, keys[0]) as run:
        assert len(run.client.search_runs(["1"])) == len(keys)
