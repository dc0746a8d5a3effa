"""A run that goes on from a state ends with the same bytes as an undisturbed one."""

from functools import cache
from pathlib import Path

import pytest
import torch
from filelock import FileLock

from radcap import layout, settings
from radcap.adapt.lora import add_lora
from radcap.errors import UserError
from radcap.models.inputs import fill
from radcap.settings import Phase, Plateau, Resume
from radcap.train.examples import Examples
from radcap.train.fit import fit
from radcap.train.recipe import Recipe
from radcap.train.states import States, claimed, fingerprint
from tests.models_for_tests import PARAMS, fresh
from tests.train.test_fit import RECIPE
from tests.train.test_micro_batches import sixteen  # noqa: F401

# Four epochs of three steps, the last of them half as large; the log has a row every second step.
STEPS = 12
# The first model of each family, the quickest of LoRA and of full training now, the others with the slow tests.
ONE_EACH = [
    pytest.param(key, marks=() if key in ("qwen2_vl_2b", "cnn_transformer") else pytest.mark.slow)
    for key in {model.family: key for key, model in reversed(PARAMS.models.items())}.values()
]


class Killed(Exception):
    """The end of a run, as far as the run can tell."""


def run(key: str, rows, folder: Path | None, *, every: int = 1, until: int | None = None):
    """Train with all that a state must hold: dropout, phases, plateau, best weights. Returns the run and its weights."""
    loaded = fresh(key)
    changes = {}
    if PARAMS.models[key].tuning == "lora":
        lora = PARAMS.adapters.model_copy(update={"strategy": "hybrid", "r": 4, "alpha": 8, "dropout": 0.2})
        trainee = add_lora(loaded, lora, PARAMS.models[key].published)[0]
    else:
        trainee = loaded.model
        phases = (Phase(share=0.5, frozen=("vision",)), Phase(share=0.5, frozen=()))
        changes = {"schedule": "plateau", "plateau": Plateau(factor=0.5, patience=0), "phases": phases}
    recipe = Recipe(
        **RECIPE.__dict__
        | {"steps": STEPS, "batch_size": 3, "accumulation": 2, "schedule": "cosine", "select_by": "valid_loss"}
        | {"resume": Resume(every_steps=every, every_seconds=0, keep_days=1), **changes}
    )
    train = rows.select(range(15))
    prompt = fill(PARAMS.models[key].template, "Describe it.")
    examples = [
        Examples(loaded, part, [prompt] * len(part), max_caption_tokens=16, cache=True) for part in (train, rows)
    ]

    told: list[dict[str, float]] = []

    def listen(row: dict[str, float]) -> None:
        told.append(row)
        if until is not None and row["step"] >= until:
            raise Killed

    fitted = fit(trainee, *examples, recipe, label=key, listen=listen, states=folder and States(folder, label=key))
    assert told == fitted.log
    return fitted, {name: tensor.clone() for name, tensor in trainee.state_dict().items()}


def same(first, second) -> bool:
    return first[0] == second[0] and all(torch.equal(first[1][n], second[1][n]) for n in first[1])


@pytest.fixture(autouse=True)
def _sparse_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("radcap.train.recipe.ROWS", STEPS // 2)


@cache
def whole(key: str, rows):
    """The run that nobody disturbs."""
    return run(key, rows, None)


@pytest.mark.parametrize("key", ONE_EACH)
def test_a_run_goes_on_where_it_was(key: str, sixteen, tmp_path: Path, capsys) -> None:  # noqa: F811
    with pytest.raises(Killed):
        run(key, sixteen, tmp_path, until=8)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000007"]
    assert same(run(key, sixteen, tmp_path), whole(key, sixteen))
    assert f"{key}: goes on from step 7/12" in capsys.readouterr().out


# After an epoch's validation, at a row of the log, between two rows, in the first epoch; twice killed.
MOMENTS = [
    ("smolvlm_500m", (5, 6), 5),
    ("smolvlm_500m", (2, 3), 2),
    ("vision_gpt2", (3, 4), 3),
    ("vision_gpt2", (4, 6), 4),
    ("vision_gpt2", (1, 4), 3),
]


@pytest.mark.parametrize(("key", "moment", "step"), MOMENTS)
def test_every_step_makes_a_whole_state(key: str, moment, step: int, sixteen, tmp_path: Path) -> None:  # noqa: F811
    every, until = moment
    with pytest.raises(Killed):
        run(key, sixteen, tmp_path, every=every, until=until)
    assert [path.name for path in tmp_path.iterdir()] == [f"step-{step:08d}"]
    with pytest.raises(Killed):
        run(key, sixteen, tmp_path, every=1, until=9)
    assert same(run(key, sixteen, tmp_path), whole(key, sixteen))


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace with bytes where the stage finds base and splits."""
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


DECIDES = [
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
DECIDES_NOTHING = [
    ("train.resume.every_steps", 7),
    ("generate.beams", 2),
    ("score.protocol", "imageclef-2025"),
    ("full.weight_decay", 0.5),
    ("profiles.sample.full.epochs", 9.0),
    ("models.vision_gpt2.template", "x {instruction}"),
]


@pytest.mark.parametrize(("key", "value"), DECIDES + DECIDES_NOTHING)
def test_a_runs_states_are_keyed_by_what_decides_it(work: Path, key: str, value: object) -> None:
    same_run = fingerprint(PARAMS, "smolvlm_500m") == fingerprint(changed(key, value), "smolvlm_500m")
    assert same_run == ((key, value) in DECIDES_NOTHING)


@pytest.mark.parametrize("path", ["models/base/smolvlm_500m/weights", "data/train.arrow", "data/valid.arrow"])
def test_other_data_or_base_make_another_run(work: Path, path: str) -> None:
    before = fingerprint(PARAMS, "smolvlm_500m")
    (work / path).write_text("other")
    assert fingerprint(PARAMS, "smolvlm_500m") != before


def test_another_version_of_a_package_makes_another_run(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = fingerprint(PARAMS, "smolvlm_500m")
    monkeypatch.setattr("radcap.records.versions", lambda *names: dict.fromkeys(names, "0"))
    assert fingerprint(PARAMS, "smolvlm_500m") != before


def test_who_trains_a_model_is_alone(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("radcap.train.states.PATIENCE", 0.05)
    told = r"^finetune smolvlm_500m: process \d+ still trains it \(runs/finetune@smolvlm_500m.lock is locked\); stop it, or wait$"
    with claimed(PARAMS, "smolvlm_500m"), pytest.raises(UserError, match=told), claimed(PARAMS, "smolvlm_500m"):
        pass
    # A queued experiment of the same run works in another folder, on the same states.
    (work / "copy").mkdir()
    monkeypatch.setenv("DVC_ROOT", str(work))
    folder = layout.states("smolvlm_500m") / fingerprint(PARAMS, "smolvlm_500m")
    held = FileLock(folder.with_name(f"{folder.name}.lock"))
    with held, pytest.raises(UserError, match="still trains it"), claimed(PARAMS, "smolvlm_500m"):
        pass


def test_states_of_a_failed_run_stay_and_half_written_ones_go(work: Path) -> None:
    def fail() -> None:
        with claimed(PARAMS, "smolvlm_500m") as states:
            with states.write(3) as folder:
                (folder / "x").write_text("3")
            half = states.folder / ".step-00000004.1.part"
            half.mkdir()
            raise Killed

    with pytest.raises(Killed):
        fail()
    with claimed(PARAMS, "smolvlm_500m") as states:
        assert [path.name for path in states.folder.iterdir()] == ["step-00000003"]
        assert states.latest() == states.folder / "step-00000003"
    assert not list(layout.states("smolvlm_500m").glob("*/"))


def test_killed_while_it_deletes_a_run_leaves_no_half_a_state(tmp_path: Path, monkeypatch, capsys) -> None:
    states = States(tmp_path / "run", label="finetune x")
    for step in (1, 2):
        with states.write(step) as folder:
            (folder / "x").write_text("x")
    monkeypatch.setattr("shutil.rmtree", lambda *_, **__: None)
    states.clear("the run is finished")
    assert states.latest() is None
    assert "finetune x: the run is finished, its states in" in capsys.readouterr().out
    monkeypatch.undo()
    with states.write(3) as folder:
        (folder / "x").write_text("x")
    states.clear("again")
    assert list(tmp_path.iterdir()) == []
