"""dvc.yaml and what `resolve` writes: each stage depends on its own file, and that on all that the stage imports."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from radcap.pipeline import code, parameters, resolve
from radcap.pipeline.code import PACKAGE, effective
from tests.models_for_tests import KEYS, PARAMS

STAGES = ("prepare", "modality", "base", "finetune", "generate", "scorers", "score", "aggregate")


@pytest.fixture(scope="module")
def pipeline() -> dict[str, Any]:
    root = Path(__file__).resolve().parents[2]
    return YAML(typ="safe").load((root / "dvc.yaml").read_text())


def test_every_stage_is_here(pipeline: dict[str, Any]) -> None:
    assert tuple(pipeline["stages"]) == ("resolve", *STAGES)
    assert set(parameters.STAGES) == set(STAGES)


def test_the_files_are_short(root: Path) -> None:
    assert len((root / "dvc.yaml").read_text().splitlines()) <= 220
    assert len((root / "dvc.lock").read_text().splitlines()) <= 2500


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_depends_on_its_own_resolved_file(pipeline: dict[str, Any], name: str) -> None:
    stage = pipeline["stages"][name]
    each = name in parameters.MODEL_STAGES
    assert ("foreach" in stage) == each
    deps = (stage.get("do") or stage)["deps"]
    own = f"resolved/{name}/${{item}}.json" if each else f"resolved/{name}.json"
    assert [dep for dep in deps if dep.startswith("resolved")] == [own]
    # Code and parameters are named there alone.
    assert not [dep for dep in deps if dep.startswith(("src", "stages", "configs"))]
    assert "params" not in (stage.get("do") or stage)


def test_no_model_is_named(root: Path) -> None:
    text = (root / "dvc.yaml").read_text()
    assert [key for key in KEYS if key in text] == []


def test_resolve_depends_on_all_code_that_decides(pipeline: dict[str, Any], root: Path) -> None:
    deps = [root / dep for dep in pipeline["stages"]["resolve"]["deps"]]
    used = {name for stage in STAGES for name in everything(stage)}
    missing = {
        name
        for name in used
        if not any((root / name if name.startswith("stages/") else PACKAGE / name).is_relative_to(dep) for dep in deps)
    }
    assert missing == set()


def everything(stage: str) -> set[str]:
    """Paths of all code that a stage runs for any model."""
    if stage not in parameters.MODEL_STAGES:
        return set(resolve.resolved(PARAMS, stage)["code"])
    return {name for key in KEYS for name in resolve.resolved(PARAMS, stage, key)["code"]}


# Chosen at run time, or by what a checkpoint turns out to be.
BY_NAME = {
    "prepare": {f"data/phantoms/draw/{name}.py" for name in ("ct", "mri", "oct", "pet", "ultrasound", "xray")},
}


@pytest.mark.parametrize("stage", STAGES)
def test_what_a_stage_really_imports_is_in_its_file(stage: str, root: Path) -> None:
    """By the modules that the script's process holds after its imports, functions' own imports aside."""
    script = f"import runpy, sys; runpy.run_path('stages/{stage}.py', run_name='stage'); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True)
    found = set()
    for name in done.stdout.split():
        parts = name.split(".")
        if parts[0] != "radcap" or len(parts) < 2 or parts[1] in code.NEUTRAL:
            continue
        path = PACKAGE.joinpath(*parts[1:])
        path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        if effective(path.read_text()):
            found.add(path.relative_to(PACKAGE).as_posix())
    assert found - everything(stage) == set()


@pytest.mark.parametrize("stage", BY_NAME)
def test_modules_chosen_by_name_are_in_the_file(stage: str) -> None:
    assert BY_NAME[stage] <= everything(stage)


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("stage", ["base", "finetune", "generate"])
def test_a_model_depends_on_its_own_family(stage: str, key: str) -> None:
    found = {name.split("/")[2] for name in resolve.resolved(PARAMS, stage, key)["code"] if "/families/" in name}
    assert found == {PARAMS.models[key].family}


SOURCES = [
    ("a = 1\n", "a = 1"),
    ("a = 1  # why\n", "a = 1"),
    ("# why\n\n\na = 1\n", "a = 1"),
    ('"""What."""\na = 1\n', "a = 1"),
    ('def f():\n    """What\n\n    more."""\n    return 1\n', "def f():\n    return 1"),
    ('class A:\n    """Ä."""\n\n    b = "# no comment"\n', 'class A:\n    b = "# no comment"'),
    ('a = """no docstring"""\n', 'a = """no docstring"""'),
    ('def f(): "what"; return 2\n', "def f(): ; return 2"),
    ("", ""),
]


@pytest.mark.parametrize(("source", "wanted"), SOURCES)
def test_comments_and_docstrings_decide_nothing(source: str, wanted: str) -> None:
    assert effective(source) == wanted


def test_what_each_stage_reads() -> None:
    """The whole of it for one model of each tuning, keys alone."""
    train = {"train", "prompt.instruction", "profile.tuning", "tuning", "seed"}
    for key, strategy in (("smolvlm_500m", True), ("vision_gpt2", False)):
        found = parameters.parameters(PARAMS, "finetune", key)
        assert train <= found.keys()
        assert ("strategy" in found["tuning"]) == strategy
        assert ("phases" in found["tuning"]) != strategy
        assert "resume" not in found["train"]
    assert parameters.parameters(PARAMS, "score", "smolvlm_500m") == {
        "profile.threads": 1,
        "score": {"protocol": "as-described"},
    }
