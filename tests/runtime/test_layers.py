"""runtime/ does not depend on anything that decides a result, so that a change in it retrains nothing."""

import re

import pytest

from tests.conftest import ROOT

MODULES = sorted((ROOT / "src/radcap/runtime").glob("*.py"))
ALLOWED = {"errors", "files", "layout", "pipeline", "runtime", "settings"}


@pytest.mark.parametrize("path", MODULES, ids=[path.stem for path in MODULES])
def test_runtime_imports_only_what_decides_no_result(path) -> None:
    source = path.read_text()
    imported = set(re.findall(r"from radcap\.(\w+)", source))
    for names in re.findall(r"from radcap import (.+)", source):
        imported |= set(names.split(", "))
    assert imported <= ALLOWED
