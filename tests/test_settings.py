"""params.yaml: every mistake is one line with key, value and what is allowed; DVC's rewriting leaves it as it is."""

import copy
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from radcap import settings
from radcap.errors import UserError

# A word, for tests of parallel runners must have the same names in each.
ABSENT = "(absent)"


@pytest.fixture
def tree(root: Path) -> dict[str, Any]:
    return YAML(typ="safe").load((root / "params.yaml").read_text())


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
    ("profiles/sample/data/train", -1, "profiles.sample.data.train: -1 is not allowed; allowed: a number greater than or equal to 0"),
    ("profiles/sample/lora/learning_rate", 3, "profiles.sample.lora.learning_rate: 3 is not allowed; allowed: a number less than 1"),
    ("lora/r", "x", "lora.r: 'x' is not allowed; allowed: a valid integer or published"),
    ("lora/r", 0, "lora.r: 0 is not allowed; allowed: a number greater than 0 or published"),
    ("score/protocol", "2027", "score.protocol: '2027' is not allowed; allowed: as-described, imageclef-2025, imageclef-2026"),
    ("models/smolvlm_500m/family", "bert", "models.smolvlm_500m.family: 'bert' is not allowed; allowed: llava, idefics, qwen_vl, moondream, smolvlm, vision_gpt2, cnn_transformer"),
    ("models/smolvlm_500m/published", ABSENT, "models.smolvlm_500m.published is missing; a model with tuning lora needs r, alpha and targets"),
    ("models/smolvlm_500m/published/targets", ["q_proj"], "models.smolvlm_500m.published.targets: 'q_proj' is no component.kind selector such as language.query or vision.*"),
    ("models/smolvlm_500m/template", "hi", "models.smolvlm_500m.template: 'hi' must hold {instruction} and no other field"),
    ("models/smolvlm_500m/prompts", ["modality"], "models.smolvlm_500m.prompts: must hold plain, and no prompt twice"),
    ("models/smolvlm_500m/prompts", ["plain", "cot"], "models.smolvlm_500m.prompts.1: 'cot' is not allowed; allowed: plain, modality"),
    ("models/vision_gpt2/prompts", ["plain", "modality"], "models.vision_gpt2.prompts: modality is not allowed where modality_instruction is none"),
    ("models/smolvlm_500m/modality_instruction", "{modality}", "models.smolvlm_500m.modality_instruction: '{modality}' must hold {instruction}, and no other field but {modality}"),
    ("models/smolvlm_500m/training_instruction", "{instruction} {label}", "models.smolvlm_500m.training_instruction: '{instruction} {label}' must hold {instruction}, and no other field but {modality}"),
    ("prompt/modality/labels", "guessed", "prompt.modality.labels: 'guessed' is not allowed; allowed: predicted, oracle"),
    ("generate/max_new_tokens", "p95", "generate.max_new_tokens: 'p95' is not allowed; allowed: a valid integer or p99"),
    ("full/phases", [{"share": 0.5, "frozen": []}], "full: phases: the shares of the phases must add up to 1, not 0.5"),
    ("full/phases", [{"share": 1.0, "frozen": ["tower"]}], "full.phases.0.frozen.0: 'tower' is not allowed; allowed: vision, connector, embeddings, language, head"),
    ("full/phases", [{"share": 1.0, "frozen": ["vision", "connector", "embeddings", "language", "head"]}], "full.phases.0.frozen: with all components frozen nothing would train"),
    ("models/qwen2_vl_2b/image", "small", "models.qwen2_vl_2b.image: 'small' is not allowed; allowed: a valid dictionary or none"),
    ("profiles/sample/full/checkpointing", True, "profiles.sample.full.checkpointing: True is not allowed; allowed: a valid integer or none, all"),
    ("train/patience", 1, "train: patience must be 0 with select_by last, which compares no epochs"),
    ("train/select_by", "best", "train.select_by: 'best' is not allowed; allowed: last, valid_loss, rouge1"),
    ("train/rates/head", 0.0, "train.rates.head: 0.0 is not allowed; allowed: a number greater than 0"),
    ("full/warmup", 0.1, "full: warmup must be 0.0 with schedule plateau"),
    ("modality/none", "ct", "modality.none: 'ct' is not allowed; allowed: other, drop"),
    ("modality/miniature/depths", [1, 1], "modality.miniature: 4 widths and 2 depths; a stage has one of each"),
    ("models", {}, "models: no model left; at least one block is needed"),
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
    told = f"models.{key}: a model's key may hold a-z, 0-9 and _ only, and not be base, modality, scorers"
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


@pytest.mark.parametrize(
    ("text", "message"),
    [("a: [", "is no valid YAML"), ("- 1", "must hold keys such as seed"), (None, "not found")],
)
def test_a_broken_file_is_one_clear_line(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "params.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        settings.load(path)
    assert "\n" not in str(caught.value)


def test_a_rate_as_dvc_writes_it_is_a_number(root: Path, tmp_path: Path) -> None:
    text = (root / "params.yaml").read_text().replace("learning_rate: 0.005", "learning_rate: 5e-05")
    (tmp_path / "params.yaml").write_text(text)
    assert settings.load(tmp_path / "params.yaml").profiles["sample"].lora.learning_rate == 5e-05


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


def test_dvc_leaves_params_byte_for_byte(root: Path, tmp_path: Path) -> None:
    from dvc.utils.serialize import modify_yaml

    path = tmp_path / "params.yaml"
    before = (root / "params.yaml").read_bytes()
    path.write_bytes(before)
    with modify_yaml(str(path)):
        pass
    assert path.read_bytes() == before
    with modify_yaml(str(path)) as changed_tree:
        changed_tree["lora"]["strategy"] = "hybrid"
    assert path.read_bytes() == before.replace(b"strategy: published", b"strategy: hybrid")
