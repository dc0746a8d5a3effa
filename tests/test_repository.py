"""What is true of the repository as a whole: versions that agree, pins that pin, no file that belongs elsewhere."""

import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import radcap

MEBIBYTE = 1 << 20
LARGE = {
    # 6 KiB over: golden weights with all four stages of the published network (its README.md).
    "tests/metrics/golden/medimageinsight/weights.safetensors",
}
# A folder of one machine, at the start of a path. In brackets, so that this file is not what it looks for.
MACHINE_PATH = re.compile(rb"(?<![\w.:/~*-])/(?:[w]ork|[t]mp/wt|[h]ome/\w+|[U]sers/\w+|[r]oot)/")


@pytest.fixture(scope="module")
def tracked(request: pytest.FixtureRequest) -> list[Path]:
    """Every file that git tracks and that is there, below the root."""
    root = request.config.rootpath
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, check=False)
    if listed.returncode:
        pytest.skip("not a git repository")
    return [path for name in listed.stdout.decode().split("\0") if name and (path := root / name).is_file()]


def test_versions_agree(root: Path) -> None:
    citation = yaml.safe_load((root / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert [citation["version"], project["version"]] == [radcap.__version__] * 2
    assert citation["license"] == project["license"]
    assert f"## [{radcap.__version__}]" in (root / "CHANGELOG.md").read_text(encoding="utf-8").splitlines()


def pins(root: Path) -> Iterator[str]:
    for line in (root / "requirements.lock").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            yield line


def test_every_package_is_pinned_once(root: Path) -> None:
    assert [line for line in pins(root) if not re.fullmatch(r"[A-Za-z0-9][\w.-]*==[\w.+!]+", line)] == []
    names = [re.sub(r"[-_.]+", "-", line.partition("==")[0]).lower() for line in pins(root)]
    assert [name for name in names if names.count(name) > 1] == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("/{}/radcap", True),
        ("cd /{}/x", True),
        ('"/{}/x"', True),
        ("https://example.org/{}/x", False),
        ("data/{}/x", False),
        ("../{}/x", False),
    ],
)
@pytest.mark.parametrize("folder", ["work", "tmp/wt", "home/someone"])
def test_what_counts_as_a_path_of_one_machine(text: str, found: bool, folder: str) -> None:
    assert bool(MACHINE_PATH.search(text.format(folder).encode())) is found


def test_no_file_names_a_folder_of_one_machine(tracked: list[Path]) -> None:
    assert [str(path) for path in tracked if MACHINE_PATH.search(path.read_bytes())] == []


def test_no_file_is_large(tracked: list[Path], root: Path) -> None:
    large = {path.relative_to(root).as_posix() for path in tracked if path.stat().st_size > MEBIBYTE}
    assert large == LARGE
