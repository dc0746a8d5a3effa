"""dvc.yaml names just the modules that a stage imports: no fewer (stale results), no more (needless training)."""

import ast
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.models_for_tests import PARAMS

PACKAGE = Path(__file__).resolve().parents[2] / "src/radcap"
# They validate, place, start, record and report; a result depends on none of them.
PLUMBING = {"__init__", "settings", "errors", "layout", "files", "records", "tracking", "progress", "processes", "quiet"}
# Chosen by name at run time; only base builds a miniature's tokenizer.
BY_NAME = {
    "prepare": {
        f"data/phantoms/draw/{name}"
        for name in ("angiography", "canvas", "ct", "mri", "oct", "pet", "ultrasound", "xray")
    },
    "base": {"models/tokenizers", "models/encoder_decoder"},
    # CheXNet's file holds no decoder: loading it draws one.
    "finetune": {"models/encoder_decoder", "models/initial"},
    "generate": {"models/encoder_decoder", "models/initial"},
    # The plan counts the models of all families.
    "aggregate": {
        path.relative_to(PACKAGE).with_suffix("").as_posix()
        for path in (PACKAGE / "models").rglob("*.py")
        if path.stem != "__init__"
    },
}
STAGES = ("prepare", "modality", "base", "finetune", "generate", "scorers", "score", "aggregate")


def imported(path: Path, src: Path) -> set[Path]:
    """Files of radcap that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        places = [src / name.replace(".", "/") for name in names if name.startswith("radcap")]
        found |= {place.with_suffix(".py") for place in places} | {place / "__init__.py" for place in places}
    return {path for path in found if path.exists()}


def closure(start: Path, src: Path) -> set[str]:
    todo, seen = [start], {start}
    while todo:
        new = imported(todo.pop(), src) - seen
        # A module of plumbing is not followed: what it imports decides no result either.
        todo += [path for path in new if not is_plumbing(path, src)]
        seen |= new
    modules = {path for path in seen - {start} if not is_plumbing(path, src) and path.stem != "__init__"}
    return {path.relative_to(src / "radcap").with_suffix("").as_posix() for path in modules}


def is_plumbing(path: Path, src: Path) -> bool:
    """A module or package right below radcap whose name is one of PLUMBING."""
    return path.relative_to(src / "radcap").with_suffix("").parts[0] in PLUMBING


def declared(stage: dict[str, Any], root: Path) -> set[str]:
    package = root / "src/radcap"
    found = set()
    for dep in (stage.get("do") or stage)["deps"]:
        path = root / dep
        if path.is_dir() and package in path.parents:
            found |= {p.relative_to(package).with_suffix("").as_posix() for p in path.rglob("*.py")}
        elif path.suffix == ".py" and package in path.parents and "${" not in dep:
            found.add(path.relative_to(package).with_suffix("").as_posix())
    return {module for module in found if not module.endswith("__init__")}


@pytest.fixture(scope="module")
def pipeline() -> dict[str, Any]:
    root = Path(__file__).resolve().parents[2]
    return YAML(typ="safe").load((root / "dvc.yaml").read_text())["stages"]


def test_every_stage_is_here(pipeline: dict[str, Any]) -> None:
    assert tuple(pipeline) == STAGES


@pytest.mark.parametrize("name", STAGES)
def test_code_dependencies_are_the_imports(pipeline: dict[str, Any], root: Path, name: str) -> None:
    deps = (pipeline[name].get("do") or pipeline[name])["deps"]
    assert f"stages/{name}.py" in deps
    assert declared(pipeline[name], root) == closure(root / f"stages/{name}.py", root / "src") | BY_NAME.get(
        name, set()
    )
    # The family's module is chosen by its name in params.yaml.
    chosen = "src/radcap/models/families/${item.family}" in deps
    assert chosen == (name in ("base", "finetune", "generate"))


def test_aggregate_waits_for_every_model(pipeline: dict[str, Any]) -> None:
    deps = {dep for dep in pipeline["aggregate"]["deps"] if dep.startswith("metrics/")}
    assert deps == {"metrics/modality.json"} | {f"metrics/{key}.json" for key in PARAMS.models}
