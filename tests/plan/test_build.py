"""`radcap plan`: the whole of it, its errors, and the arithmetic behind its notes."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from radcap import cli, settings
from radcap.errors import UserError
from radcap.plan import build, render, study
from tests.models_for_tests import PARAMS
from tests.plan.test_sizes import TOTALS, full

PARTS = {
    "weights",
    "trained",
    "gradients",
    "moments",
    "logits",
    "activations",
    "checkpointed",
    "total",
    "total_checkpointed",
}


@pytest.fixture(scope="module")
def whole() -> dict[str, Any]:
    root = Path(__file__).resolve().parents[2]
    return build.build_plan(PARAMS, study=study.read_study(root / study.PUBLISHED, root / study.NOTES))


def test_all_models_under_all_strategies(whole: dict[str, Any]) -> None:
    assert whole["models"].keys() | set(whole["without_full_size"]) == PARAMS.models.keys()
    assert whole["strategies"] == ["published", "targeted", "extended", "hybrid"]
    for key, row in whole["models"].items():
        full_tuning = PARAMS.models[key].tuning == "full"
        assert list(row["variants"]) == (["full"] if full_tuning else whole["strategies"])
        assert row["total"] == sum(row["components"].values()) == TOTALS[key]
        for variant in row["variants"].values():
            assert variant["percent"] == 100 * variant["trained"] / row["total"]
            assert list(variant["memory"]) == (["none"] if full_tuning else ["none", "4bit"])
            assert all(found.keys() == PARTS for found in variant["memory"].values())
        assert row["study"]["why"].keys() <= {"params", "trained", "percent"}
    json.dumps(whole, allow_nan=False)


def test_the_page_tells_every_model_and_note(whole: dict[str, Any]) -> None:
    page = render.render_plan(whole, detail="hybrid")
    lines = page.splitlines()
    assert "## Memory of hybrid, GiB" in lines
    for key, row in whole["models"].items():
        assert sum(line.startswith(f"| {key} |") for line in lines) == 7
        assert all(f"- {key}, {what}: {why}" in lines for what, why in row["study"]["why"].items())
    assert "| llava_mistral_7b | 40.1 (0.53) | 40.3 (0.53) | 49.2 (0.65) | 303.0 (4.00) |" in lines
    # A strategy that was not planned cannot be told apart.
    only = render.render_plan(whole | {"strategies": ["targeted"]}, detail="hybrid")
    assert "## Memory of targeted, GiB" in only


def test_more_trained_takes_more(whole: dict[str, Any]) -> None:
    for key, row in whole["models"].items():
        if PARAMS.models[key].tuning == "lora":
            memory = {name: variant["memory"]["none"] for name, variant in row["variants"].items()}
            assert memory["targeted"]["activations"] <= memory["extended"]["activations"]
            assert memory["targeted"]["trained"] < memory["hybrid"]["trained"]
            for found in memory.values():
                assert found["checkpointed"] < found["activations"]


def test_one_model_and_strategy_as_json(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, root: Path
) -> None:
    monkeypatch.chdir(root)
    cli.main(["plan", "--models", "qwen2_vl_2b", "--strategy", "hybrid", "--json"])
    printed = json.loads(capsys.readouterr().out)
    assert printed["models"].keys() == {"qwen2_vl_2b"}
    variant = printed["models"]["qwen2_vl_2b"]["variants"]["hybrid"]
    # The head is the embeddings' weight, and counts once.
    assert 233_373_696 < variant["trained"] < 2 * 233_373_696


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"keys": ["gpt5"]}, "unknown model 'gpt5'; allowed: "),
        ({"strategies": ["all"]}, "unknown strategy 'all'; allowed: published, targeted, extended, hybrid"),
    ],
)
def test_mistakes_are_one_clear_line(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=f"^{message}") as caught:
        build.build_plan(PARAMS, **arguments)
    assert "\n" not in str(caught.value)


def test_a_row_that_does_not_fit_names_its_model() -> None:
    tree = PARAMS.model_dump()
    tree["models"]["qwen2_vl_2b"]["published"]["targets"] = ["vision.query"]
    with pytest.raises(UserError, match=r"^models.qwen2_vl_2b: lora.strategy 'published' matches no module"):
        build.build_plan(settings.parse(tree), keys=["qwen2_vl_2b"])


def test_missing_reference_figures_are_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"published.yaml not found; run from the project's root$"):
        study.read_study(tmp_path / "published.yaml")


def test_within_its_budget(root: Path) -> None:
    """The real command, all models and strategies, in a process of its own."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = [sys.executable, "benchmarks/plan.py"]
    done = subprocess.run(
        command, cwd=root, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=True
    )
    found = re.search(r"([\d.]+) s, ([\d.]+) GiB", done.stdout)
    assert found is not None
    assert float(found[1]) < 60
    assert float(found[2]) < 3


def units(key: str, kinds: str, component: str) -> int:
    return sum(
        m.inputs + m.outputs for m in full(key).inventory if m.component == component and m.kind in kinds.split()
    )


def with_adapters(trained: int, total: int) -> float:
    return round(100 * trained / (total + trained), 2)


def test_the_arithmetic_of_the_notes() -> None:
    """Each figure that reference/plan_notes.yaml derives."""
    attention, mlp = "query key value output", "gate up down"
    vicuna = units("llava_vicuna_7b", f"query key value {mlp}", "language") + units(
        "llava_vicuna_7b", "linear", "connector"
    )
    assert 16 * vicuna == 35_995_648
    assert round(16 * (vicuna + units("llava_vicuna_7b", "query key value", "vision")) / 1e6, 1) == 38.4
    assert with_adapters(84_672_512, TOTALS["llava_1_5_7b"]) == 1.18
    assert round(100 * 19_750_912 / TOTALS["idefics_9b"], 2) == 0.22
    qwen2 = units("qwen2_vl_2b", f"{attention} {mlp}", "language")
    assert round(48 * qwen2 / 1e6, 1) == 55.4
    assert round(32 * (qwen2 + units("qwen2_vl_2b", "qkv output fc1 fc2", "vision")) / 1e6, 1) == 57.9
    assert round(54.0 / 0.0246 / 1e3, 3) == 2.195
    parts = full("qwen2_5_vl_3b").components
    assert round((parts["language"] + parts["embeddings"]) / 1e9, 3) == 3.086
    assert round((parts["vision"] + parts["connector"]) / 1e9, 3) == 0.669
    assert round(32 * units("qwen2_5_vl_3b", f"{attention} {mlp}", "language") / 1e6, 1) == 59.9
    assert round(57.0 / 0.0187 / 1e3, 2) == 3.05
    assert with_adapters(74_422_272, TOTALS["moondream2"]) == 3.85
    assert with_adapters(46_198_784, TOTALS["smolvlm_500m"]) == 8.34
    assert round(0.0834 * 0.5e9 / 1e6, 1) == 41.7
    gpt2 = full("vision_gpt2")
    assert round(gpt2.components["connector"] / 1e6, 1) == 28.4
    assert round((gpt2.total - gpt2.components["connector"]) / 1e7) == 21


def test_moondreams_count_is_exact_with_fused_projections() -> None:
    """The checkpoint has query, key and value of Phi as one module, and of the tower too; LoRA by name, r = 64."""
    fused = [
        *(24 * [("Wqkv", 2048, 3 * 2048), ("out_proj", 2048, 2048), ("fc1", 2048, 8192), ("fc2", 8192, 2048)]),
        *(27 * [("proj", 1152, 1152), ("fc1", 1152, 4304), ("fc2", 4304, 1152)]),
        ("fc1", 1152, 8192),
        ("fc2", 8192, 2048),
    ]
    assert 64 * sum(inputs + outputs for _, inputs, outputs in fused) == 74_422_272
