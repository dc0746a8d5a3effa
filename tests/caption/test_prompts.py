"""What a model is asked: the truth table of labels, and the variants of a split."""

from pathlib import Path

import pytest

from radcap import files, layout
from radcap.caption.prompts import labels_from_concepts, predicted_labels, prompt, training_prompts
from radcap.caption.variants import decoding_options, fingerprint, variants
from radcap.data import store
from radcap.errors import UserError
from radcap.modality.classes import CLASSES
from radcap.modality.predictions import Predictions
from tests.models_for_tests import KEYS, LORA_KEYS, PARAMS

SAID = "{modality} image. {instruction}"
CUIS = {
    "ct": ["C0040405"],
    "x-ray": ["C1306645", "C0817096"],
    "none": ["C0817096"],
    "several": ["C0040405", "C0032743"],
}


@pytest.mark.parametrize(
    ("said", "label", "expected"),
    [
        (SAID, "ct", "<image>CT image. Describe."),
        (SAID, "oct", "<image>Optical coherence tomography image. Describe."),
        (SAID, "other", "<image>Describe."),
        (SAID, None, "<image>Describe."),
        ("{instruction}", "ct", "<image>Describe."),
        ("Briefly: {instruction}", None, "<image>Briefly: Describe."),
        ("{instruction} It is {modality}.", "mri", "<image>Describe. It is MRI."),
    ],
)
def test_a_prompt_says_the_modality_where_there_is_one(said: str, label: str | None, expected: str) -> None:
    assert prompt("<image>{instruction}", said, "Describe.", label) == expected


def test_every_class_but_other_has_words() -> None:
    said = {name: prompt("{instruction}", SAID, "x", name) for name in CLASSES}
    assert {name for name, text in said.items() if text == "x"} == {"other"}
    assert len(set(said.values())) == len(CLASSES)


@pytest.mark.parametrize(
    ("guess", "threshold", "expected"),
    [
        (("ct", 0.6), 0.0, "ct"),
        (("ct", 0.6), 0.6, "ct"),
        (("ct", 0.6), 0.61, None),
        (("other", 1.0), 0.0, None),
        ((None, None), 0.0, None),
    ],
)
def test_a_prediction_is_said_from_the_threshold_on(guess, threshold: float, expected: str | None) -> None:
    assert predicted_labels(["a"], {"a": guess}, threshold=threshold) == [expected]


def test_own_labels_are_those_of_the_concepts() -> None:
    assert labels_from_concepts(CUIS.values()) == ["ct", "x-ray", None, None]


@pytest.mark.parametrize("key", KEYS)
def test_training_sees_the_modality_only_where_its_instruction_says_it(key: str) -> None:
    model = PARAMS.models[key]
    plain = model.template.replace("{instruction}", "Go.")
    assert training_prompts(model, "Go.", list(CUIS.values())) == [plain] * 4
    labelled = model.model_copy(update={"training_instruction": SAID})
    own = model.template.replace("{instruction}", "CT image. Go.")
    assert training_prompts(labelled, "Go.", list(CUIS.values()))[::2] == [own, plain]


@pytest.fixture
def test_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    about = {"image": b"", "caption": "", "raw_caption": "", "width": 1, "height": 1, "sha256": ""}
    store.write(layout.split("test"), [store.Row(id=name, cuis=tuple(cuis), **about) for name, cuis in CUIS.items()])
    return store.read(layout.split("test"))


def settings_with(**changes: object):
    modality = PARAMS.prompt.modality.model_copy(update=changes)
    return PARAMS.model_copy(update={"prompt": PARAMS.prompt.model_copy(update={"modality": modality})})


def test_the_studys_three_models_have_both_prompts() -> None:
    both = {key for key in KEYS if PARAMS.models[key].prompts == ("plain", "modality")}
    assert both == {"smolvlm_500m", "qwen2_vl_2b", "qwen2_5_vl_3b"}
    assert all(PARAMS.models[key].modality_instruction == SAID for key in LORA_KEYS)


def test_variants_by_predictions_or_by_the_images_own_concepts(test_split) -> None:
    key = "smolvlm_500m"
    with pytest.raises(UserError, match=r"^modality/test.parquet not found; `dvc repro modality` makes it$"):
        variants(PARAMS, key, test_split)
    oracle = {one.name: one for one in variants(settings_with(labels="oracle"), key, test_split)}
    assert {name: one.labelled for name, one in oracle.items()} == {"plain": None, "modality": 2, "base": None}
    assert [one.is_tuned for one in oracle.values()] == [True, True, False]
    assert oracle["base"].prompts == oracle["plain"].prompts

    shares = [[0.9 if column == row else 0.1 / 7 for column in range(8)] for row in (2, 1, 0, 7)]
    import numpy as np

    Predictions(list(CUIS), [None] * 4, np.array(shares)).write(layout.predicted_modalities("test"))
    for threshold, labelled in ((0.0, 3), (0.95, 0)):
        found = variants(settings_with(threshold=threshold), key, test_split)[1]
        assert (found.name, found.labelled) == ("modality", labelled)
    said = variants(PARAMS, key, test_split)[1].prompts
    assert ["MRI image." in said[0], "X-ray image." in said[1], "CT image." in said[2]] == [True] * 3
    assert said[3] == oracle["plain"].prompts[3]


def test_what_decides_captions_is_in_their_fingerprint_and_nothing_else(test_split) -> None:
    """Captions of an interrupted run are gone on with under the same fingerprint alone."""
    key = "llava_1_5_7b"
    for folder, name in ((layout.base(key), "base.json"), (layout.fine_tuned(key), "audit.json")):
        folder.mkdir(parents=True)
        files.write_json(folder / name, {"caption_tokens_p99": 31})

    def mark(params=PARAMS) -> str:
        return fingerprint(params, key, test_split, variants(params, key, test_split))

    def changed(section: str, **changes: object):
        return PARAMS.model_copy(update={section: getattr(PARAMS, section).model_copy(update=changes)})

    def profile(**changes: object):
        generate = PARAMS.active.generate.model_copy(update=changes)
        sample = PARAMS.active.model_copy(update={"generate": generate})
        return PARAMS.model_copy(update={"profiles": {**PARAMS.profiles, "sample": sample}})

    assert decoding_options(PARAMS, key).max_new_tokens == 31
    same = mark()
    assert {mark(), mark(profile(processes=4)), mark(changed("train", max_grad_norm=0.5))} == {same}
    others = [
        mark(changed("generate", beams=3)),
        mark(changed("generate", max_new_tokens=30)),
        mark(changed("prompt", instruction="Describe it.")),
        mark(profile(batch_size=3)),
        mark(profile(base=False)),
    ]
    files.write_json(layout.fine_tuned(key) / "adapter.json", {})
    others.append(mark())
    assert len({same, *others}) == 7
