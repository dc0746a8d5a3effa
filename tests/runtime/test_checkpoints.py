"""A run that resumes from a checkpoint ends with the same bytes as an uninterrupted one."""

from functools import cache
from pathlib import Path

import pytest
import torch
from filelock import FileLock

from radcap import layout, settings
from radcap.adapt.lora import add_lora
from radcap.errors import UserError
from radcap.models.inputs import fill_template
from radcap.runtime.checkpoints import TrainingCheckpoints, locked_checkpoints, training_fingerprint
from radcap.settings import Phase, Plateau, Resume
from radcap.train.examples import Examples
from radcap.train.fit import fit
from radcap.train.recipe import Recipe
from tests.models_for_tests import PARAMS, fresh
from tests.train.test_fit import RECIPE
from tests.train.test_micro_batches import sixteen  # noqa: F401

# Four epochs of three steps; the last step of an epoch has half a batch. The log has a row for every second step.
STEPS = 12
# The first model of each family. All but the fastest LoRA model and the fastest fully trained one are slow tests.
ONE_EACH = [
    pytest.param(key, marks=() if key in ("qwen2_vl_2b", "cnn_transformer") else pytest.mark.slow)
    for key in {model.family: key for key, model in reversed(PARAMS.models.items())}.values()
]


class Killed(Exception):
    """Ends a run in place of a kill."""


def run(key: str, rows, folder: Path | None, *, every: int = 1, until: int | None = None):
    """Train with everything that a checkpoint must hold: dropout, phases, plateau, best weights.

    `every`: steps between checkpoints. `until`: the step at which the run is killed. Returns the result and the weights.
    """
    loaded = fresh(key)
    changes = {}
    if PARAMS.models[key].tuning == "lora":
        lora = PARAMS.adapters.model_copy(update={"strategy": "hybrid", "r": 4, "alpha": 8, "dropout": 0.2})
        model = add_lora(loaded, lora, PARAMS.models[key].published)[0]
    else:
        model = loaded.model
        phases = (Phase(share=0.5, frozen=("vision",)), Phase(share=0.5, frozen=()))
        changes = {"schedule": "plateau", "plateau": Plateau(factor=0.5, patience=0), "phases": phases}
    recipe = Recipe(
        **RECIPE.__dict__
        | {"steps": STEPS, "batch_size": 3, "accumulation": 2, "schedule": "cosine", "select_by": "valid_loss"}
        | {"resume": Resume(every_steps=every, every_seconds=0, keep_days=1), **changes}
    )
    train = rows.select(range(15))
    prompt = fill_template(PARAMS.models[key].template, "Describe it.")
    examples = [
        Examples(loaded, part, [prompt] * len(part), max_caption_tokens=16, cache=True) for part in (train, rows)
    ]

    listened: list[dict[str, float]] = []

    def listen(row: dict[str, float]) -> None:
        listened.append(row)
        if until is not None and row["step"] >= until:
            raise Killed

    checkpoints = folder and TrainingCheckpoints(folder, label=key)
    result = fit(model, *examples, recipe, label=key, listener=listen, checkpoints=checkpoints)
    assert listened == result.log
    return result, {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(first, second) -> bool:
    return first[0] == second[0] and all(torch.equal(first[1][n], second[1][n]) for n in first[1])


@pytest.fixture(autouse=True)
def _sparse_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("radcap.train.recipe.LOG_ROWS", STEPS // 2)


@cache
def uninterrupted(key: str, rows):
    """A run that is never killed."""
    return run(key, rows, None)


@pytest.mark.parametrize("key", ONE_EACH)
def test_a_run_resumes_where_it_was_killed(key: str, sixteen, tmp_path: Path, capsys) -> None:  # noqa: F811
    with pytest.raises(Killed):
        run(key, sixteen, tmp_path, until=8)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000007"]
    assert same(run(key, sixteen, tmp_path), uninterrupted(key, sixteen))
    assert f"{key}: resumes from step 7/12" in capsys.readouterr().out


# (steps between checkpoints, step of the kill), step of the checkpoint. Some are after the validation of an epoch, at a
# row of the log, between two rows, or in the first epoch. Each run is killed twice.
MOMENTS = [
    ("smolvlm_500m", (5, 6), 5),
    ("smolvlm_500m", (2, 3), 2),
    ("vision_gpt2", (3, 4), 3),
    ("vision_gpt2", (4, 6), 4),
    ("vision_gpt2", (1, 4), 3),
]


@pytest.mark.parametrize(("key", "moment", "step"), MOMENTS)
def test_every_step_makes_a_complete_checkpoint(key: str, moment, step: int, sixteen, tmp_path: Path) -> None:  # noqa: F811
    every, until = moment
    with pytest.raises(Killed):
        run(key, sixteen, tmp_path, every=every, until=until)
    assert [path.name for path in tmp_path.iterdir()] == [f"step-{step:08d}"]
    with pytest.raises(Killed):
        run(key, sixteen, tmp_path, every=1, until=9)
    assert same(run(key, sixteen, tmp_path), uninterrupted(key, sixteen))


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace with placeholder files for the base and the splits."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    for path in (layout.base("smolvlm_500m") / "weights", layout.split("train"), layout.split("valid")):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(path.name)
    return tmp_path


def changed(dotted: str, value: object) -> settings.Settings:
    tree = PARAMS.model_dump()
    *parents, last = dotted.split(".")
    part = tree
    for name in parents:
        part = part[name]
    part[last] = value
    return settings.parse(tree)


DECISIVE = [
    ("seed", 1),
    ("train.max_grad_norm", 0.5),
    ("lora.strategy", "hybrid"),
    ("profiles.sample.lora.dropout", 0.1),
    ("profiles.sample.lora.batch_size", 8),
    ("profiles.sample.threads", 2),
    ("profiles.sample.dtype", "bfloat16"),
    ("prompt.instruction", "Caption it."),
    ("models.smolvlm_500m.template", "{instruction}"),
]
IRRELEVANT = [
    ("train.resume.every_steps", 7),
    ("generate.beams", 2),
    ("score.protocol", "imageclef-2025"),
    ("full.weight_decay", 0.5),
    ("profiles.sample.full.epochs", 9.0),
    ("models.vision_gpt2.template", "x {instruction}"),
]


@pytest.mark.parametrize(("key", "value"), DECISIVE + IRRELEVANT)
def test_the_fingerprint_depends_on_exactly_what_decides_the_weights(work: Path, key: str, value: object) -> None:
    same_run = training_fingerprint(PARAMS, "smolvlm_500m") == training_fingerprint(changed(key, value), "smolvlm_500m")
    assert same_run == ((key, value) in IRRELEVANT)


@pytest.mark.parametrize("path", ["models/base/smolvlm_500m/weights", "data/train.arrow", "data/valid.arrow"])
def test_the_fingerprint_depends_on_data_and_base(work: Path, path: str) -> None:
    before = training_fingerprint(PARAMS, "smolvlm_500m")
    (work / path).write_text("other")
    assert training_fingerprint(PARAMS, "smolvlm_500m") != before


def test_the_fingerprint_depends_on_package_versions(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = training_fingerprint(PARAMS, "smolvlm_500m")
    monkeypatch.setattr("radcap.runtime.records.versions", lambda *names: dict.fromkeys(names, "0"))
    assert training_fingerprint(PARAMS, "smolvlm_500m") != before


def test_only_one_process_trains_a_model(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("radcap.runtime.checkpoints.LOCK_TIMEOUT", 0.05)
    message = r"^finetune smolvlm_500m: process \d+ is still training it \(runs/finetune@smolvlm_500m.lock is locked\); stop that process or wait$"
    with (
        locked_checkpoints(PARAMS, "smolvlm_500m"),
        pytest.raises(UserError, match=message),
        locked_checkpoints(PARAMS, "smolvlm_500m"),
    ):
        pass
    # A queued experiment of the same run works in another folder, but with the same checkpoints.
    (work / "copy").mkdir()
    monkeypatch.setenv("DVC_ROOT", str(work))
    folder = layout.training_checkpoints("smolvlm_500m") / training_fingerprint(PARAMS, "smolvlm_500m")
    held = FileLock(folder.with_name(f"{folder.name}.lock"))
    with held, pytest.raises(UserError, match="is still training it"), locked_checkpoints(PARAMS, "smolvlm_500m"):
        pass


def test_checkpoints_of_a_failed_run_stay_and_incomplete_ones_are_deleted(work: Path) -> None:
    def fail() -> None:
        with locked_checkpoints(PARAMS, "smolvlm_500m") as checkpoints:
            with checkpoints.write(3) as folder:
                (folder / "x").write_text("3")
            incomplete = checkpoints.folder / ".step-00000004.1.part"
            incomplete.mkdir()
            raise Killed

    with pytest.raises(Killed):
        fail()
    with locked_checkpoints(PARAMS, "smolvlm_500m") as checkpoints:
        assert [path.name for path in checkpoints.folder.iterdir()] == ["step-00000003"]
        assert checkpoints.latest() == checkpoints.folder / "step-00000003"
    assert not list(layout.training_checkpoints("smolvlm_500m").glob("*/"))


def test_a_kill_during_deletion_leaves_no_incomplete_checkpoint(tmp_path: Path, monkeypatch, capsys) -> None:
    checkpoints = TrainingCheckpoints(tmp_path / "run", label="finetune x")
    for step in (1, 2):
        with checkpoints.write(step) as folder:
            (folder / "x").write_text("x")
    monkeypatch.setattr("shutil.rmtree", lambda *_, **__: None)
    checkpoints.delete("training is finished")
    assert checkpoints.latest() is None
    assert "finetune x: training is finished; deleting its checkpoints in" in capsys.readouterr().out
    monkeypatch.undo()
    with checkpoints.write(3) as folder:
        (folder / "x").write_text("x")
    checkpoints.delete("again")
    assert list(tmp_path.iterdir()) == []
