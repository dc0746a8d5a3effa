"""Settings: every mistake is one line with file, key, value and what is allowed; DVC's rewriting changes a value alone."""

import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dvc.utils.hydra import apply_overrides
from dvc.utils.serialize import modify_yaml
from ruamel.yaml import YAML

from radcap import settings
from radcap.errors import UserError
from tests.conftest import ROOT, copy_settings

# A word, for tests of parallel runners must have the same names in each.
ABSENT = "(absent)"


@pytest.fixture
def tree(root: Path) -> dict[str, Any]:
    return settings.read_tree(settings.read_folder(root))


def changed(tree: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    tree = copy.deepcopy(tree)
    *parents, last = path.split("/")
    section = tree
    for part in parents:
        section = section[part]
    if value is ABSENT:
        del section[last]
    else:
        section[last] = value
    return tree


MISTAKES = [
    ("lora/strategy", "foo", "lora.strategy: 'foo' is not allowed; allowed: published, targeted, extended, hybrid"),
    ("lora/strateg", "hybrid", "lora: unknown key 'strateg'; did you mean strategy?"),
    ("sed", 1, "unknown key 'sed'; did you mean seed?"),
    ("seed", ABSENT, "seed is missing"),
    ("seed", "a", "seed: 'a' is not allowed; allowed: a valid integer"),
    ("seed", True, "seed: True is not allowed; allowed: a valid integer"),
    ("profile", "huge", "profile: 'huge' is not allowed; allowed: sample, rocov2"),
    ("profiles/sample/data/source", "web", "profiles.sample.data.source: 'web' is not allowed; allowed: phantoms, folder"),
    ("profiles/sample/data/train", -1, "configs/miniatures.yaml: phantoms.train: -1 is not allowed; allowed: a number greater than or equal to 0"),
    ("profiles/sample/lora/learning_rate", 3, "profiles.sample.lora.learning_rate: 3 is not allowed; allowed: a number less than 1"),
    ("lora/r", "x", "lora.r: 'x' is not allowed; allowed: a valid integer or published"),
    ("lora/r", 0, "lora.r: 0 is not allowed; allowed: a number greater than 0 or published"),
    ("score/protocol", "2027", "score.protocol: '2027' is not allowed; allowed: as-described, imageclef-2025, imageclef-2026"),
    ("models/smolvlm_500m/family", "bert", "configs/models/smolvlm_500m.yaml: family: 'bert' is not allowed; allowed: llava, idefics, qwen_vl, moondream, smolvlm, vision_gpt2, cnn_transformer"),
    ("models/smolvlm_500m/published", ABSENT, "configs/models/smolvlm_500m.yaml: published is missing; a model with tuning lora needs r, alpha and targets"),
    ("models/smolvlm_500m/published/targets", ["q_proj"], "configs/models/smolvlm_500m.yaml: published.targets: 'q_proj' is not a component.kind selector such as language.query or vision.*"),
    ("models/smolvlm_500m/template", "hi", "configs/models/smolvlm_500m.yaml: template: 'hi' must contain {instruction} and no other field"),
    ("models/smolvlm_500m/prompts", ["modality"], "configs/models/smolvlm_500m.yaml: prompts: must contain plain, and each prompt once"),
    ("models/smolvlm_500m/prompts", ["plain", "cot"], "configs/models/smolvlm_500m.yaml: prompts.1: 'cot' is not allowed; allowed: plain, modality"),
    ("models/vision_gpt2/prompts", ["plain", "modality"], "configs/models/vision_gpt2.yaml: prompts: modality is not allowed if modality_instruction is none"),
    ("models/smolvlm_500m/modality_instruction", "{modality}", "configs/models/smolvlm_500m.yaml: modality_instruction: '{modality}' must contain {instruction}, and no other field except {modality}"),
    ("models/smolvlm_500m/training_instruction", "{instruction} {label}", "configs/models/smolvlm_500m.yaml: training_instruction: '{instruction} {label}' must contain {instruction}, and no other field except {modality}"),
    ("prompt/modality/labels", "guessed", "prompt.modality.labels: 'guessed' is not allowed; allowed: predicted, oracle"),
    ("generate/max_new_tokens", "p95", "generate.max_new_tokens: 'p95' is not allowed; allowed: a valid integer or p99"),
    ("full/phases", [{"share": 0.5, "frozen": []}], "full: phases: the shares of the phases must add up to 1, not 0.5"),
    ("full/phases", [{"share": 1.0, "frozen": ["tower"]}], "full.phases.0.frozen.0: 'tower' is not allowed; allowed: vision, connector, embeddings, language, head"),
    ("full/phases", [{"share": 1.0, "frozen": ["vision", "connector", "embeddings", "language", "head"]}], "full.phases.0.frozen: nothing would be trained with all components frozen"),
    ("models/qwen2_vl_2b/image", "small", "configs/models/qwen2_vl_2b.yaml: image: 'small' is not allowed; allowed: a valid dictionary or none"),
    ("profiles/sample/full/checkpointing", True, "profiles.sample.full.checkpointing: True is not allowed; allowed: a valid integer or none, all"),
    ("train/patience", 1, "train: patience must be 0 with select_by last, which compares no epochs"),
    ("train/select_by", "best", "train.select_by: 'best' is not allowed; allowed: last, valid_loss, rouge1"),
    ("train/rates/head", 0.0, "train.rates.head: 0.0 is not allowed; allowed: a number greater than 0"),
    ("full/warmup", 0.1, "full: warmup must be 0.0 with schedule plateau"),
    ("modality/none", "ct", "modality.none: 'ct' is not allowed; allowed: other, drop"),
    ("modality/miniature/depths", [1, 1], "configs/modality.yaml: miniature: 4 widths and 2 depths; each stage needs one of both"),
    ("models", {}, "models: no model is listed; at least one is needed"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value", "message"), MISTAKES, ids=[f"{p}={v}" for p, v, _ in MISTAKES])
def test_a_mistake_is_one_clear_line(tree: dict[str, Any], path: str, value: Any, message: str) -> None:
    with pytest.raises(UserError) as caught:
        settings.parse(changed(tree, path, value))
    assert str(caught.value) == message


def test_the_number_of_further_mistakes_is_told(tree: dict[str, Any]) -> None:
    two = changed(changed(tree, "seed", "a"), "profile", "b")
    with pytest.raises(UserError, match=r"^seed: 'a' .* \(and 1 more\)$"):
        settings.parse(two)


@pytest.mark.parametrize("key", ["modality", "Qwen"])
def test_a_models_key_is_a_folders_name_of_its_own(tree: dict[str, Any], key: str) -> None:
    with pytest.raises(UserError) as caught:
        settings.parse(changed(tree, f"models/{key}", tree["models"]["smolvlm_500m"]))
    told = f"models: {key!r} is no valid name; use a-z, 0-9 and _, but not base, modality, scorers"
    assert str(caught.value) == told


def test_unknown_model_names_the_known(tree: dict[str, Any]) -> None:
    with pytest.raises(
        UserError,
        match=r"^unknown model 'gpt5'; allowed: llava_mistral_7b, llava_vicuna_7b, .*, vision_gpt2, cnn_transformer$",
    ):
        settings.parse(tree).model("gpt5")


def test_the_tree_is_frozen(tree: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="frozen"):
        settings.parse(tree).seed = 1  # type: ignore[misc]


FILES = [
    ("params.yaml", "a: [", "params.yaml is not valid YAML"),
    ("params.yaml", "- 1", "params.yaml must be a mapping of keys to values"),
    ("params.yaml", None, "params.yaml not found; run from the project's root"),
    ("configs/scorers.yaml", "a: [", "configs/scorers.yaml is not valid YAML"),
    ("configs/modality.yaml", None, "configs/modality.yaml not found"),
    ("configs/miniatures.yaml", "scorers: 3", "configs/miniatures.yaml: scorers must be a mapping of keys to values"),
    ("configs/models/smolvlm_500m.yaml", None, "models: 'smolvlm_500m' has no file configs/models/smolvlm_500m.yaml"),
    ("configs/models/moondream2.yaml", "- 1", "configs/models/moondream2.yaml must be a mapping of keys to values"),
]


@pytest.mark.parametrize(("name", "text", "message"), FILES, ids=[f"{row[0]}: {row[1]}" for row in FILES])
def test_a_broken_file_is_one_clear_line(tmp_path: Path, name: str, text: str | None, message: str) -> None:
    copy_settings(tmp_path)
    if text is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_text(text)
    with pytest.raises(UserError) as caught:
        settings.load(tmp_path)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


LISTS = [
    ("models", "x", "models: 'x' is not allowed; allowed: a list of models, each a file of configs/models"),
    ("models", ["smolvlm_500m", "smolvlm_500m"], "models: smolvlm_500m is listed more than once"),
    ("models", ["gpt5"], "models: 'gpt5' has no file configs/models/gpt5.yaml"),
    ("models", [], "models: no model is listed; at least one is needed"),
]


@pytest.mark.parametrize(("key", "value", "message"), LISTS, ids=[str(row[1]) for row in LISTS])
def test_the_list_of_models_is_checked(tmp_path: Path, key: str, value: Any, message: str) -> None:
    copy_settings(tmp_path)
    with modify_yaml(str(tmp_path / "params.yaml")) as tree:
        tree[key] = value
    with pytest.raises(UserError) as caught:
        settings.load(tmp_path)
    assert str(caught.value) == message


def test_a_value_has_one_place(tmp_path: Path) -> None:
    copy_settings(tmp_path)
    with modify_yaml(str(tmp_path / "params.yaml")) as tree:
        tree["profiles"]["sample"]["scorers"]["bleurt"] = "elsewhere"
    with pytest.raises(UserError) as caught:
        settings.load(tmp_path)
    assert str(caught.value) == "profiles.sample.scorers: bleurt can only be set in configs/scorers.yaml"


def test_some_models_are_enough(tmp_path: Path) -> None:
    copy_settings(tmp_path)
    with modify_yaml(str(tmp_path / "params.yaml")) as tree:
        tree["models"] = ["moondream2", "vision_gpt2"]
    assert list(settings.load(tmp_path).models) == ["moondream2", "vision_gpt2"]


def test_a_rate_as_dvc_writes_it_is_a_number(tmp_path: Path) -> None:
    copy_settings(tmp_path)
    path = tmp_path / "params.yaml"
    path.write_text(path.read_text().replace("learning_rate: 0.005", "learning_rate: 5e-05"))
    assert settings.load(tmp_path).profiles["sample"].lora.learning_rate == 5e-05


@pytest.mark.parametrize(
    ("reference", "alpha", "rate"), [("none", 16, 0.004), (32, 32, 0.004), (32, 128, 0.001), (32, 16, 0.008)]
)
def test_a_rate_follows_alpha_where_the_profile_says_so(reference: object, alpha: int, rate: float) -> None:
    run = settings.LoraRun(
        epochs=1.0,
        batch_size=1,
        accumulation=1,
        learning_rate=0.004,
        checkpointing="none",
        reference_alpha=reference,
        dropout=0.0,
    )
    assert run.rate(alpha) == pytest.approx(rate)


def test_components_frozen_in_every_phase_never_train(tree: dict[str, Any]) -> None:
    phases = [{"share": 0.5, "frozen": ["vision", "head"]}, {"share": 0.5, "frozen": ["vision"]}]
    assert settings.parse(changed(tree, "full/phases", phases)).full.never_trained == {"vision"}
    assert settings.parse(tree).full.never_trained == frozenset()


def test_dropout_is_the_profiles_unless_overridden(tree: dict[str, Any]) -> None:
    own = tree["profiles"]["sample"]["lora"]["dropout"]
    assert settings.parse(tree).adapters.dropout == own
    assert settings.parse(changed(tree, "lora/dropout", 0.3)).adapters.dropout == 0.3


# (file, key of a scalar, its line before, the override, its line after)
OVERRIDES = [
    ("params.yaml", "  strategy: published", "lora.strategy=hybrid", "  strategy: hybrid"),
    ("params.yaml", "seed: 42", "seed=7", "seed: 7"),
    ("params.yaml", "      source: phantoms", "profiles.sample.data.source=folder", "      source: folder"),
    ("params.yaml", "  resamples: 10000", "report.resamples=500", "  resamples: 500"),
    ("params.yaml", "  vision_tower: true", "lora.vision_tower=false", "  vision_tower: false"),
    ("configs/models/moondream2.yaml", "  r: 64", "published.r=8", "  r: 8"),
    ("configs/modality.yaml", "balance: 0.5", "balance=1.0", "balance: 1.0"),
    ("configs/miniatures.yaml", "  train: 1600", "phantoms.train=20", "  train: 20"),
    ("configs/scorers.yaml", "deberta_layer: 40", "deberta_layer=30", "deberta_layer: 30"),
]


@pytest.mark.parametrize(("name", "before", "override", "after"), OVERRIDES, ids=[row[2] for row in OVERRIDES])
def test_an_override_changes_one_line(tmp_path: Path, name: str, before: str, override: str, after: str) -> None:
    """By the function that `dvc exp run -S` calls."""
    copy_settings(tmp_path)
    path = tmp_path / name
    text = path.read_text()
    assert text.count(f"{before}\n") == 1
    apply_overrides(str(path), [override])
    assert path.read_text() == text.replace(f"{before}\n", f"{after}\n")


def test_an_override_of_the_list_leaves_all_else(tmp_path: Path) -> None:
    copy_settings(tmp_path)
    path = tmp_path / "params.yaml"
    text = path.read_text()
    apply_overrides(str(path), ["models=[smolvlm_500m,llava_1_5_7b]"])
    head = text[: text.index("models:\n")]
    assert path.read_text() == f"{head}models:\n- smolvlm_500m\n- llava_1_5_7b\n"


def names_of_settings() -> list[str]:
    return ["params.yaml", *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "configs").rglob("*.yaml"))]


@pytest.mark.parametrize("name", names_of_settings())
def test_overriding_a_value_by_itself_changes_no_byte(tmp_path: Path, name: str) -> None:
    """Every scalar of every file, all at once: comments, order, spaces and quotes stay."""
    copy_settings(tmp_path)
    path = tmp_path / name
    before = path.read_bytes()
    flat = dict(scalars(YAML(typ="safe").load(before.decode())))
    apply_overrides(str(path), [f"{key}={value}" for key, value in flat.items()])
    assert path.read_bytes() == before
    with modify_yaml(str(path)):
        pass
    assert path.read_bytes() == before


def scalars(tree: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from scalars(value, f"{prefix}{key}.")
        # Hydra's grammar has characters of its own; texts that hold them are quoted by hand in a shell too.
        elif isinstance(value, bool | int | float) or (isinstance(value, str) and re.fullmatch(r"[\w.-]+", value)):
            yield f"{prefix}{key}", str(value).lower() if isinstance(value, bool) else str(value)


def test_params_are_short(root: Path) -> None:
    assert len((root / "params.yaml").read_text().splitlines()) <= 200
