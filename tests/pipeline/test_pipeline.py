"""The pipeline as its users run it, in a small real DVC repository."""

import json
import os
import re
import signal
import time
from pathlib import Path

import pytest

from radcap import cli
from radcap.caption.records import read_captions
from radcap.launch.display import without_label
from radcap.launch.dvc_commands import ROUTINE, RUNS
from tests.models_for_tests import PARAMS
from tests.pipeline.conftest import FULL_KEYS, KEYS, LORA_KEYS, Project, copy


def each(stage: str, keys: tuple[str, ...] = KEYS) -> set[str]:
    return {f"{stage}@{key}" for key in keys}


def ran(output: str) -> set[str]:
    return set(re.findall(r"Running stage '([^']+)'", output))


def test_two_clones_give_the_same_bytes(clones) -> None:
    names = ("metrics", "captions", "reports", "data", "scores", "modality", "plots")
    first, second = (clone.results(*names) for clone in clones)
    assert first.keys() == second.keys()
    assert {name for name in first if first[name] != second[name]} == set()
    assert {f"metrics/{key}.json" for key in KEYS} | {
        "metrics/overall.json",
        "metrics/summary.json",
        "metrics/modality.json",
        "reports/summary.md",
        "plots/modality.csv",
    } <= first.keys()


RATE = r"\d+\.\d(/s| s each)(, (\d+ s|\d+:\d\d) left)?"
FIGURES = r"(, \w+ \d+\.\d{4})*"
# What stages print, after their names.
STAGE_LINES = re.compile(
    r"(train|valid|test): \d+ rows in, \d+ out, \d+ quarantined"
    rf"|([a-z ]+: )?(step )?\d+/\d+{FIGURES}, {RATE}"
    rf"|epoch \d+/\d+: loss \d+\.\d{{4}}{FIGURES}"
    r"|phase \d+/\d+, (frozen: [a-z, ]+|nothing frozen), [\d,]+ trainable parameters"
    rf"|keeps the weights of step \d+.*"
    r"|[a-z]+: \d+ of \d+ captions cut, \d+ empty"
    r"|see reports/summary\.md, or reports/index\.html in a browser"
)


def test_every_line_is_known(built: dict[Project, str]) -> None:
    """Of DVC, radcap and the stages. Another comes from a library: a user can do something about it, or it is hidden
    in radcap.runtime.quiet."""
    by_dvc, by_radcap = built.values()
    unknown, stage = [], ""
    for line in filter(None, by_dvc.splitlines()):
        if match := RUNS.match(line):
            stage = match[1]
        elif not (ROUTINE.fullmatch(line) or STAGE_LINES.fullmatch(without_label(stage, line))):
            unknown.append(line)
    *lines, last = by_radcap.splitlines()
    for line in lines:
        _, _, text = line.partition(" | ")
        if not (re.fullmatch(r"runs|done in (\d+ s|\d+:\d\d)", text) or STAGE_LINES.fullmatch(text)):
            unknown.append(line)
    assert unknown == []
    assert re.fullmatch(r"13 of 13 stages done, (\d+ s|\d+:\d\d)", last)


def test_trained_weights_repeat_too(clones) -> None:
    first, second = (clone.results("models") for clone in clones)
    assert first.keys() == second.keys()
    assert {name for name in first if first[name] != second[name]} == set()


def test_a_second_clones_lock_file_is_the_first_ones(clones) -> None:
    """Every hash that DVC holds: what is committed is what the next clone makes."""
    first, second = ((clone.folder / "dvc.lock").read_text() for clone in clones)
    assert first == second


def test_nothing_to_do_runs_nothing(project: Project) -> None:
    output = project.run("dvc", "repro")
    assert ran(output) == set()
    assert output.strip().endswith("Data and pipelines are up to date.")


def test_a_clone_without_data_is_known_to_be_up_to_date(project: Project, tmp_path: Path) -> None:
    project.run("git", "clone", "--quiet", str(project.folder), str(tmp_path / "clone"))
    output = Project(tmp_path / "clone").run("dvc", "repro", "--allow-missing", "--dry")
    assert output.strip().splitlines()[-1] == "Data and pipelines are up to date."


SMOLVLM = "configs/models/smolvlm_500m.yaml"
REACH = [
    ("lora.strategy", "hybrid", each("finetune", LORA_KEYS) | {"aggregate"}),
    ("lora.dropout", 0.1, each("finetune", LORA_KEYS) | {"aggregate"}),
    ("profiles.sample.lora.dropout", 0.1, each("finetune", LORA_KEYS) | {"aggregate"}),
    ("full.plateau.patience", 2, each("finetune", FULL_KEYS)),
    ("profiles.sample.full.learning_rate", 0.003, each("finetune", FULL_KEYS) | {"aggregate"}),
    ("profiles.sample.generate.batch_size", 7, each("generate")),
    ("configs/miniatures.yaml:pretrain.steps", 7, each("base")),
    ("configs/miniatures.yaml:general.diagrams", 25, {"prepare"}),
    ("configs/miniatures.yaml:scorers.steps.bleurt", 6, {"scorers"}),
    ("configs/scorers.yaml:bleurt_revision", "abc", {"scorers"}),
    ("modality.none", "drop", {"modality"}),
    ("configs/modality.yaml:balance", 1.0, {"modality"}),
    ("profiles.sample.modality.learning_rate", 0.004, {"modality"}),
    ("profiles.rocov2.modality.epochs", 6, set()),
    ("profiles.rocov2.lora.learning_rate", 0.0002, set()),
    (f"{SMOLVLM}:published.r", 8, {"finetune@smolvlm_500m", "aggregate"}),
    (f"{SMOLVLM}:miniature.layers", 1, {"base@smolvlm_500m", "aggregate"}),
    (f"{SMOLVLM}:prompts", ["plain"], {"generate@smolvlm_500m", "aggregate"}),
    (f"{SMOLVLM}:modality_instruction", "{modality}: {instruction}", {"generate@smolvlm_500m", "aggregate"}),
    (f"{SMOLVLM}:training_instruction", "{modality}: {instruction}", {"finetune@smolvlm_500m", "aggregate"}),
    ("configs/models/moondream2.yaml:published.r", 8, set()),
    ("prompt.modality.labels", "oracle", each("generate") | {"aggregate"}),
    ("train.max_grad_norm", 2.0, each("finetune") | {"aggregate"}),
    ("train.select_by", "valid_loss", each("finetune") | {"aggregate"}),
    ("train.resume.every_seconds", 7, set()),
    ("prompt.instruction", "Caption it.", each("finetune") | each("generate") | {"aggregate"}),
    ("generate.beams", 2, each("generate") | {"aggregate"}),
    ("report.alpha", 0.01, {"aggregate"}),
    ("score.protocol", "imageclef-2025", each("score") | {"aggregate"}),
]


@pytest.fixture(scope="module")
def unchanged(clones) -> dict[str, object]:
    return clones[0].resolved()


@pytest.mark.parametrize(("key", "value", "stages"), REACH, ids=[row[0] for row in REACH])
def test_a_parameter_reaches_just_its_stages(
    project: Project, unchanged: dict[str, object], key: str, value: object, stages: set[str]
) -> None:
    project.change(key, value)
    assert {name for name, found in project.resolved().items() if found != unchanged[name]} == stages


DVC_ROWS = [row for row in REACH if row[0] in ("lora.strategy", "full.plateau.patience")]


@pytest.mark.parametrize(("key", "value", "stages"), DVC_ROWS, ids=[row[0] for row in DVC_ROWS])
def test_dvc_runs_just_these_stages(project: Project, key: str, value: object, stages: set[str]) -> None:
    project.change(key, value)
    assert project.status() == stages


CODE = [
    (
        "src/radcap/models/families/smolvlm/__init__.py",
        {f"{s}@smolvlm_500m" for s in ("base", "finetune", "generate")} | {"aggregate"},
    ),
    ("src/radcap/models/families/llava/__init__.py", {"aggregate"}),
    ("src/radcap/models/tokenizers.py", each("base") | {"aggregate", "scorers"}),
    (
        "src/radcap/models/full_size/smolvlm_500m.json",
        {f"{s}@smolvlm_500m" for s in ("base", "finetune", "generate")} | {"aggregate"},
    ),
    ("src/radcap/metrics/rouge1.py", each("score")),
    ("src/radcap/metrics/miniatures/pairs.py", {"scorers"}),
    ("src/radcap/adapt/strategies.py", each("finetune") | {"aggregate"}),
    ("src/radcap/train/pretrain.py", each("base")),
    ("src/radcap/train/loss.py", each("base") | each("finetune")),
    ("src/radcap/modality/dataset.py", {"modality"}),
    ("src/radcap/report/tables/comparison.py", {"aggregate"}),
    ("src/radcap/report/page/page.css", {"aggregate"}),
    ("src/radcap/report/readme.py", set()),
    ("src/radcap/data/phantoms/captions.py", {"prepare", "scorers"}),
    ("src/radcap/data/phantoms/lexicon.csv", {"prepare", "scorers", "aggregate"}),
    ("src/radcap/settings/training.py", set()),
    ("src/radcap/runtime/tracking.py", set()),
    ("src/radcap/runtime/progress.py", set()),
    ("src/radcap/runtime/checkpoints.py", set()),
    ("stages/finetune.py", each("finetune")),
    ("README.md", set()),
]
# What a line of its own does not change is no code: JSON, CSV and CSS take a blank line.
LINES = {".py": "\nADDED = 1\n", ".md": "\nAdded.\n"}


@pytest.mark.parametrize(("name", "stages"), CODE, ids=[row[0] for row in CODE])
def test_a_line_of_code_reaches_just_its_stages(
    project: Project, unchanged: dict[str, object], name: str, stages: set[str]
) -> None:
    path = project.folder / name
    assert path.is_file()
    with path.open("a") as stream:
        stream.write(LINES.get(path.suffix, "\n"))
    assert {stage for stage, found in project.resolved().items() if found != unchanged[stage]} == stages


def test_dvc_runs_what_a_line_of_code_reaches(project: Project) -> None:
    with (project.folder / "src/radcap/train/loss.py").open("a") as stream:
        stream.write(LINES[".py"])
    assert project.status() == each("base") | each("finetune")


def test_comments_and_docstrings_rerun_nothing(project: Project) -> None:
    for path in (project.folder / "src/radcap").rglob("*.py"):
        first, _, rest = path.read_text().partition("\n")
        path.write_text(f"# of its own\n{first}\n\n# another\n{rest}\n# and one more\n")
    assert project.status() == set()
    assert project.run("dvc", "repro").strip().splitlines()[-1] == "Data and pipelines are up to date."


@pytest.mark.parametrize("key", KEYS)
def test_one_model_alone_is_reported(project: Project, key: str) -> None:
    """Of either tuning: tables, statistics and page of a single model."""
    output = project.run("dvc", "exp", "run", "-S", f"models=[{key}]")
    assert ran(output) == {"resolve", "aggregate"}
    assert {path.stem for path in (project.folder / "metrics").glob("*.json")} == {
        *(key, "modality", "overall", "summary"),
    }
    # The audit also quotes the study's tables, which hold all models.
    summary = (project.folder / "reports/summary.md").read_text().partition("## Audit")[0]
    assert key in summary
    assert [other for other in KEYS if other != key and other in summary] == []
    assert "Error" not in output
    project.run("git", "checkout", "--quiet", "--", ".")
    project.run("git", "clean", "--quiet", "-fd", "metrics", "reports")
    project.run("dvc", "checkout", "--force")


def test_dvc_draws_every_plot(project: Project) -> None:
    shown = json.loads(project.run("dvc", "plots", "show", "--json").splitlines()[-1])
    assert "errors" not in shown
    for name in ("overall", "parameters", "loss", "complexity"):
        (plot,) = shown["data"][f"plots/{name}.csv"]
        values = plot["content"]["data"]["values"]
        assert {row["model"] for row in values} == set(KEYS)
        # Each axis names a column that is there.
        assert all(plot["content"]["encoding"][axis]["field"] in values[0] for axis in "xy")


def mlflow_runs(project: Project) -> list[dict[str, str]]:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{project.folder / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("radcap")
    assert experiment is not None
    assert Path(experiment.artifact_location) == project.folder / "mlartifacts"
    found = client.search_runs([experiment.experiment_id])
    assert {run.info.status for run in found} == {"FINISHED"}
    for report in (run for run in found if run.data.tags.get("stage") == "aggregate"):
        assert "reports/summary.md" in {entry.path for entry in client.list_artifacts(report.info.run_id, "reports")}
    runs = [run for run in found if "model" in run.data.tags]
    assert len(runs) < len(found)
    for run in runs:
        wanted = {"train/loss", "train/valid_loss", "rouge1", "bertscore", "umls_f1"}
        wanted |= {"base.rouge1"} if run.data.tags["prompt"] == "plain" else set()
        assert wanted <= run.data.metrics.keys()
        assert run.data.params["model.key"] == run.data.tags["model"]
        assert len(client.get_metric_history(run.info.run_id, "train/loss")) > 1
    return [{name: run.data.tags[name] for name in ("model", "variant", "prompt")} for run in runs]


def runs_of(keys: tuple[str, ...], variant: str | None = None) -> list[tuple[str, ...]]:
    """(model, how it was trained, prompt) of each run that one repro makes."""
    return [(key, variant or PARAMS.variant(key), prompt) for key in keys for prompt in PARAMS.models[key].prompts]


def test_mlflow_holds_one_run_per_model_and_prompt(clones) -> None:
    found = [tuple(run.values()) for run in mlflow_runs(clones[1])]
    assert sorted(found) == sorted(runs_of(KEYS))


def test_a_strategy_is_one_override_and_a_readable_diff(project: Project) -> None:
    before = (project.folder / "params.yaml").read_text()
    output = project.run("dvc", "exp", "run", "-S", "lora.strategy=hybrid")
    # One line of the file, and no comment lost.
    changed = before.replace("  strategy: published\n", "  strategy: hybrid\n")
    assert (project.folder / "params.yaml").read_text() == changed != before
    # DVC takes `resolve` from its cache where another test has made the same change.
    assert ran(output) | {"resolve"} == {
        "resolve",
        *each("finetune", LORA_KEYS),
        *each("generate", LORA_KEYS),
        *each("score", LORA_KEYS),
        "aggregate",
    }
    for key in LORA_KEYS:
        audit = json.loads((project.folder / f"models/{key}/audit.json").read_text())
        assert audit["variant"] == "hybrid"
        assert all(
            audit["components"][name]["trained"] >= audit["components"][name]["total"]
            for name in ("head", "embeddings")
        )
    diff = re.sub(" +", " ", project.run("dvc", "metrics", "diff", "--md"))
    rows = [line.split(" | ")[:2] for line in diff.splitlines() if line.startswith("| metrics/")]
    # The aggregates come first; models without an adapter have no row.
    assert {name for name, _ in rows} == {"| metrics/summary.json"}
    kinds = [metric.split(".")[0] for _, metric in rows]
    assert kinds == sorted(kinds)
    assert set(kinds) == {"aggregates", "metrics"}
    assert {metric.split(".")[1] for _, metric in rows} == set(LORA_KEYS)
    assert len(rows) <= 9 * len(LORA_KEYS)
    found = [tuple(run.values()) for run in mlflow_runs(project)]
    assert sorted(found) == sorted(runs_of(KEYS) + runs_of(LORA_KEYS, "hybrid"))
    project.run("git", "checkout", "--quiet", "--", ".")
    project.run("dvc", "checkout")


def test_a_queued_experiment_reports_to_the_main_workspace_and_is_compared(
    clones, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a temporary copy of the workspace, with one model left."""
    project = clones[1]
    before = len(mlflow_runs(project))
    some = ["-S", "models=[smolvlm_500m]"]
    project.run("dvc", "exp", "run", "--queue", "--name", "small-rank", "-S", "lora.r=4", *some)
    project.run("dvc", "exp", "run", "--run-all")
    shown = project.run("dvc", "exp", "show", "--json", "--no-pager")
    assert "small-rank" in shown
    runs = mlflow_runs(project)
    assert len(runs) == before + len(PARAMS.models["smolvlm_500m"].prompts)
    assert not (project.folder / "mlruns").exists()
    monkeypatch.chdir(project.folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    cli.main(["compare", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert list(told["experiments"]) == ["baseline", "small-rank"]
    assert told["parameters"]["lora.r"] == {"baseline": "published", "small-rank": 4}
    assert told["parameters"]["models"] == {"baseline": list(KEYS), "small-rank": ["smolvlm_500m"]}
    rows = {(row["model"], row["experiment"]): row for row in told["models"]}
    base, small = (rows["smolvlm_500m", name] for name in told["experiments"])
    assert base["trained"] == 16 * small["trained"]
    assert base["seconds"] > 0 and small["seconds"] > 0
    for row in (base, small):
        assert isinstance(row["overall"], float)
    tested = {(test["first"], test["second"]) for test in told["tests"]}
    assert tested == {("small-rank", "baseline")}


MISTAKES = [
    (
        "lora.strategy",
        "foo",
        "radcap: error: lora.strategy: 'foo' is not allowed; allowed: published, targeted, extended, hybrid",
    ),
    (
        "profiles.sample.data.source",
        "web",
        "radcap: error: profiles.sample.data.source: 'web' is not allowed; allowed: phantoms, folder",
    ),
    ("seed", -1, "radcap: error: seed: -1 is not allowed; allowed: a number greater than or equal to 0"),
]


@pytest.mark.parametrize(("key", "value", "line"), MISTAKES, ids=[row[0] for row in MISTAKES])
def test_a_mistake_in_the_parameters_stops_with_one_line(project: Project, key: str, value: object, line: str) -> None:
    project.change(key, value)
    output = project.run("dvc", "repro", code=255)
    assert line in output.splitlines()
    assert "Traceback" not in output
    project.restore()
    project.run("dvc", "checkout")


def test_a_missing_folder_stops_with_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    project = copy(tmp_path)
    project.change("profiles.sample.data.source", "folder")
    project.change("profiles.sample.data.path", "no/such/folder")
    output = project.run("dvc", "repro", "prepare", code=255)
    errors = [line for line in output.splitlines() if line.startswith("radcap: error: ")]
    assert len(errors) == 1
    assert errors[0].endswith("no/such/folder' does not exist")
    assert "Traceback" not in output
    assert not list((project.folder / "data").glob("*"))


def test_ctrl_c_leaves_nothing_half_written_and_the_next_run_ends_alike(clones) -> None:
    first, second = clones
    wanted = first.results("models/smolvlm_500m")
    stage = "finetune@smolvlm_500m"
    # So many epochs that no machine is through with them when the signal comes.
    second.change("profiles.sample.lora.epochs", 100_000)
    process = second.start("dvc", "repro", stage, PYTHONUNBUFFERED="1")
    assert process.stdout
    assert any("finetune smolvlm_500m: step " in line for line in process.stdout), "it never trained"
    # The trainer's process number, there as long as it trains.
    os.kill(int((second.folder / f"runs/{stage}.pid").read_text()), signal.SIGINT)
    output, _ = process.communicate()
    assert process.returncode != 0
    assert "Traceback" not in output
    assert not (second.folder / "models/smolvlm_500m").exists()
    assert not list((second.folder / "models").glob(".*part"))
    second.restore()
    second.run("dvc", "repro", "resolve")
    # Not forced, DVC would take the result from its cache, and nothing would train.
    assert ran(second.run("dvc", "repro", "-s", "-f", stage)) == {stage}
    assert second.results("models/smolvlm_500m") == wanted


def generated(project: Project) -> dict[str, bytes]:
    project.run("python", "stages/generate.py", LORA_KEYS[0], PYTHONPATH="src")
    return project.results(f"captions/{LORA_KEYS[0]}")


def texts(folder: Path) -> dict[str, list[tuple[str, str]]]:
    return {path.stem: [(one.id, one.raw) for one in read_captions(path)] for path in sorted(folder.glob("*.jsonl"))}


def test_two_processes_write_the_same_bytes(project: Project) -> None:
    folder = project.folder / "captions" / LORA_KEYS[0]
    wanted = texts(folder)
    assert list(wanted) == ["base", "modality", "plain"]
    # Two batches a variant, so that both have work.
    project.change("profiles.sample.generate.batch_size", 8)
    project.change("profiles.sample.generate.processes", 2)
    by_two = generated(project)
    assert texts(folder) == wanted
    project.change("profiles.sample.generate.processes", 1)
    assert generated(project) == by_two
    project.restore()
    project.run("dvc", "checkout", "--force")


def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(project: Project) -> None:
    wanted = project.results(f"captions/{LORA_KEYS[0]}")
    parts = project.folder / "checkpoints/generate" / LORA_KEYS[0]
    process = project.start("python", "stages/generate.py", LORA_KEYS[0], PYTHONPATH="src")
    deadline = time.monotonic() + 120
    while not any(path.stat().st_size for path in parts.rglob("*.jsonl")) and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert list(parts.rglob("plain.*.jsonl"))
    assert project.results("captions").keys() >= wanted.keys()
    assert generated(project) == wanted
    assert not list(parts.glob("*"))
    project.run("dvc", "checkout", "--force")


def test_real_images_are_fine_tuned_and_scored(clones, real_data: Path) -> None:
    """The folder source as an experiment, with one model left: its base stays, all after it runs on the real split."""
    project = clones[1]
    changes = ["profiles.sample.data.source=folder", f"profiles.sample.data.path={real_data / 'radiology'}"]
    changes += ["train.max_caption_tokens=48", "models=[smolvlm_500m]"]
    overrides = [argument for change in changes for argument in ("-S", change)]
    output = project.run("dvc", "exp", "run", "--temp", "--name", "real", *overrides)
    assert {"prepare", "modality", "scorers", "aggregate", "finetune@smolvlm_500m", "score@smolvlm_500m"} <= ran(output)
    assert ran(output).isdisjoint(each("base"))
    diff = json.loads(project.run("dvc", "metrics", "diff", "--all", "--json", "HEAD", "real").splitlines()[-1])
    figures = diff["metrics/summary.json"]
    assert all(
        isinstance(figures[f"metrics.smolvlm_500m.{name}"]["new"], float) for name in ("bertscore", "rouge1", "umls_f1")
    )
