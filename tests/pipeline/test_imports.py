"""The large libraries that each stage imports at its start: every one costs CPU seconds in each of 40 processes."""

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {
    *(
        "PIL",
        "accelerate",
        "bert_score",
        "datasets",
        "dvc",
        "matplotlib",
        "medcat",
        "mlflow",
        "nltk",
        "numpy",
        "pandas",
    ),
    *("peft", "pyarrow", "rich", "rouge_score", "scipy", "sklearn", "spacy", "sqlalchemy", "torch", "transformers"),
}
# What transformers' trainer brings along, and what that brings along.
TRAINER = {"PIL", "accelerate", "datasets", "numpy", "pandas", "peft", "pyarrow", "scipy", "torch", "transformers"}
ALLOWED = {
    "resolve": set(),
    "prepare": {"PIL", "numpy"},
    # sklearn brings rich along.
    "modality": {*TRAINER, "rich", "sklearn"} - {"datasets"},
    "base": TRAINER,
    "finetune": TRAINER,
    "generate": {"PIL", "accelerate", "numpy", "torch", "transformers"},
    "scorers": {"numpy"},
    "score": {"numpy", "rouge_score"},
    "aggregate": {"PIL", "numpy", "scipy", "torch"},
}


def test_every_stage_has_its_list(root: Path) -> None:
    assert {path.stem for path in (root / "stages").glob("*.py")} == ALLOWED.keys()


@pytest.mark.parametrize("stage", ALLOWED)
def test_a_stage_imports_no_large_library_that_it_can_do_without(stage: str, root: Path) -> None:
    script = f"import runpy, sys; runpy.run_path('stages/{stage}.py', run_name='stage'); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True)
    assert {name.partition(".")[0] for name in done.stdout.split()} & HEAVY <= ALLOWED[stage]


def test_garbage_is_collected_again_when_the_work_begins() -> None:
    script = "from radcap.runtime.startup import run_stage; import gc; before = gc.isenabled(); run_stage(lambda: print(before, gc.isenabled()))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]


def test_the_command_line_starts_at_once() -> None:
    script = "import radcap.cli, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert {name.partition(".")[0] for name in done.stdout.split()} & HEAVY == set()
