"""Phantoms: proportions, exact captions and concepts, layout on disk, and that the pictures can be learned."""

import filecmp
import itertools
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from radcap.data.phantoms import lexicon
from radcap.data.phantoms.atlas import SHARES, STUDIES
from radcap.data.phantoms.captions import caption, find_concepts
from radcap.data.phantoms.case import Case, concepts, relative_size, sample_case
from radcap.data.phantoms.dataset import row_id, write_dataset
from radcap.data.phantoms.diagrams import BODIES, MARKS, draw_diagram
from radcap.data.phantoms.draw import draw
from radcap.data.phantoms.phrases import ANATOMY, FINDINGS, MODALITY, TECHNIQUE, VIEW
from radcap.data.phantoms.shapes import draw_scene

COUNTS = {"train": 60, "valid": 50, "test": 50}
SEEDS = st.integers(0, 2**32 - 1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("phantoms")
    write_dataset(path, counts=COUNTS, seed=7)
    return path


def captions(folder: Path, split: str) -> "pd.Series[str]":
    return pd.read_csv(folder / f"{split}_captions.csv", index_col="ID", keep_default_na=False)["Caption"]


def cuis(folder: Path, name: str) -> list[set[str]]:
    cells = pd.read_csv(folder / name, keep_default_na=False)["CUIs"]
    return [set(cell.split(";")) - {""} for cell in cells]


def test_modalities_come_in_the_studys_proportions() -> None:
    rng = np.random.default_rng(0)
    seen = Counter(sample_case(rng).modality for _ in range(20_000))
    for modality, share in SHARES.items():
        assert abs(100 * seen[modality] / 20_000 - share) < 1.0


def test_every_row_of_the_atlas_is_sampled_and_named() -> None:
    rng = np.random.default_rng(1)
    cases = [sample_case(rng) for _ in range(20_000)]
    facts = {(case.modality, case.anatomy, case.finding) for case in cases}
    assert facts == {(s.modality, s.anatomy, f.name) for s in STUDIES for f in s.findings}
    assert all(0 <= relative_size(case) <= 1 for case in cases)
    assert {case.finding for case in cases} - {None} == set(FINDINGS)
    assert {case.anatomy for case in cases} == set(ANATOMY)
    assert {case.modality for case in cases} == set(MODALITY) == set(SHARES)
    assert {case.technique for case in cases} - {None} == set(TECHNIQUE)
    assert {case.view for case in cases} - {None} == set(VIEW)


def test_asking_for_an_unknown_modality_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match="'mammography' is not one of ct, x-ray"):
        sample_case(np.random.default_rng(0), modality="mammography")


def test_lexicon_is_well_formed() -> None:
    table = lexicon.load()
    assert len({concept.cui for concept in table}) == len(table)
    for concept in table:
        assert concept.cui[0] == "C"
        assert concept.cui[1:].isdigit()
        assert len(concept.cui) == 8
        assert concept.types
        assert all(kind[0] == "T" and len(kind) == 4 for kind in concept.types)
        assert all(name == name.lower() for name in concept.names)


@given(SEEDS)
@settings(max_examples=400, deadline=None)
def test_a_tagger_finds_exactly_the_concepts(seed: int) -> None:
    rng = np.random.default_rng(seed)
    case = sample_case(rng)
    text = caption(case, rng)
    assert find_concepts(text) == {concept.cui for concept in concepts(case)}, text
    assert text.isascii()
    assert text.endswith(".")
    assert "  " not in text
    assert " ." not in text
    assert len(text.split()) >= 4


def test_captions_have_the_length_and_variety_of_the_real_ones() -> None:
    rng = np.random.default_rng(2)
    texts = [caption(sample_case(rng), rng) for _ in range(3000)]
    words = [len(text.split()) for text in texts]
    assert 12 < np.mean(words) < 21
    assert np.std(words) > 5
    assert len(set(texts)) > 0.85 * len(texts)
    assert len({word.strip(".,()") for text in texts for word in text.lower().split()}) <= 350


@given(SEEDS)
@settings(max_examples=300, deadline=None)
def test_no_diagrams_caption_can_be_a_phantoms(seed: int) -> None:
    _, text = draw_diagram(np.random.default_rng(seed))
    core = lambda *names: frozenset(lexicon.find(name).cui for name in names if name)  # noqa: E731
    sides = core("left", "right", "bilateral")
    assert find_concepts(text) - sides not in {
        core(s.modality, s.anatomy, f.name) for s in STUDIES for f in s.findings
    }, text


def test_diagrams_have_no_word_of_their_own() -> None:
    rng = np.random.default_rng(3)
    words = lambda texts: {word.strip(".,()") for text in texts for word in text.lower().split()}  # noqa: E731
    own = words(draw_diagram(rng)[1] for _ in range(1500)) - words(caption(sample_case(rng), rng) for _ in range(6000))
    # Sizes and plurals that no phantom happens to have remain.
    assert all(word[0].isdigit() or word in FORMS for word in own), own


FORMS = {word for form in FINDINGS.values() for phrase in form.many for word in phrase.split()}


@pytest.mark.parametrize("modality", SHARES)
def test_pictures_are_grey_levels_of_moderate_size(modality: str) -> None:
    rng = np.random.default_rng(4)
    for _ in range(5):
        pixels = draw(sample_case(rng, modality=modality), rng)
        assert pixels.dtype == np.uint8
        assert pixels.ndim == 2
        assert 160 <= min(pixels.shape) <= max(pixels.shape) <= 256
        assert pixels.std() > 15


def test_patients_left_is_on_the_right_of_the_picture() -> None:
    fluid = Case("x-ray", "chest", "pleural effusion", "left", None, "frontal", None)
    pixels = draw(fluid, np.random.default_rng(5)).astype(float)
    low = slice(int(0.55 * pixels.shape[0]), int(0.75 * pixels.shape[0]))
    third = pixels.shape[1] // 3
    assert pixels[low, -third:].mean() > pixels[low, :third].mean() + 30


def test_drawing_is_fast_enough() -> None:
    rng = np.random.default_rng(6)
    start = time.process_time()
    for _ in range(60):
        draw(sample_case(rng), rng)
    assert time.process_time() - start < 3.0


def features(cases: list[Case], rng: np.random.Generator, *, side: int) -> np.ndarray:
    small = [Image.fromarray(draw(case, rng)).resize((side, side), Image.Resampling.BOX) for case in cases]
    flat = np.stack([np.asarray(image, dtype=np.float64).ravel() / 255 for image in small])
    return np.hstack([flat, np.ones((len(flat), 1))])


def held_out_accuracy(inputs: np.ndarray, labels: list[str], *, train: int, ridge: float = 5.0) -> float:
    """Accuracy of a least-squares classifier, fitted on the first rows, on the rest."""
    names = sorted(set(labels))
    targets = np.array([[label == name for name in names] for label in labels], dtype=float)
    gram = inputs[:train] @ inputs[:train].T + ridge * np.eye(train)
    weights = inputs[:train].T @ np.linalg.solve(gram, targets[:train])
    right = (inputs[train:] @ weights).argmax(1) == targets[train:].argmax(1)
    return float(right.mean())


def test_modalities_can_be_told_apart_at_32_pixels() -> None:
    rng = np.random.default_rng(8)
    cases = [sample_case(rng, modality=modality) for _ in range(50) for modality in SHARES]
    assert held_out_accuracy(features(cases, rng, side=32), [case.modality for case in cases], train=245) >= 0.9


def test_sides_can_be_told_apart_at_32_pixels() -> None:
    rng = np.random.default_rng(9)
    sided = [
        case
        for case in (sample_case(rng, modality="ct") for _ in range(900))
        if case.finding and case.anatomy == "kidney"
    ]
    sided = [case for case in sided if case.side in ("left", "right")]
    inputs = features(sided, rng, side=32)
    assert held_out_accuracy(inputs, [str(case.side) for case in sided], train=len(sided) * 2 // 3) >= 0.85


def test_the_layout_is_rocov2s(folder: Path) -> None:
    for split, count in COUNTS.items():
        ids = [row_id(split, index) for index in range(count)]
        for name in ("captions", "concepts", "concepts_manual", "facts"):
            assert list(pd.read_csv(folder / f"{split}_{name}.csv")["ID"]) == ids
        assert sorted(path.stem for path in (folder / split).iterdir()) == ids
    numbers = [int(row_id("train", index)[-6:]) for index in range(60)]
    assert any(b - a > 1 for a, b in itertools.pairwise(numbers))
    assert list(pd.read_csv(folder / "license_information.csv").columns) == [
        "ID",
        "PMCID",
        "Attribution",
        "Link",
    ]
    assert list(pd.read_csv(folder / "cui_mapping.csv").columns) == ["CUI", "Canonical name"]
    assert len(pd.read_csv(folder / "license_information.csv")) == sum(COUNTS.values())


@pytest.mark.parametrize("split", COUNTS)
def test_each_quirk_occurs_in_every_split_of_50_rows(folder: Path, split: str) -> None:
    texts = captions(folder, split)
    assert (texts == "\u202f").any()
    assert (texts != texts.str.strip(" ")).any()
    assert texts.str.contains("\u00a0").any()
    assert texts.str.contains("[^\x00-\x7f\u00a0\u202f]").any()
    assert texts.duplicated().any()
    assert texts.str.split().str.len().between(1, 2).any()
    assert (texts.str.split().str.len() > 200).any() == (split == "train")
    modalities = {lexicon.find(name).cui for name in SHARES}
    kinds = [len(row & modalities) for row in cuis(folder, f"{split}_concepts.csv")]
    assert kinds.count(0) == kinds.count(2) == 1
    assert set() in cuis(folder, f"{split}_concepts_manual.csv")
    pictures = [Image.open(path) for path in (folder / split).iterdir()]
    assert {"L", "RGB", "P"} <= {image.mode for image in pictures}
    assert {"PNG", "JPEG"} == {image.format for image in pictures}


def test_ordinary_rows_say_what_the_concepts_list(folder: Path) -> None:
    texts, listed = captions(folder, "train"), cuis(folder, "train_concepts.csv")
    wrong = [
        row for row, (text, row_cuis) in enumerate(zip(texts, listed, strict=True)) if find_concepts(text) != row_cuis
    ]
    # Blank, short, without modality, with two.
    assert wrong == [7, 11, 31, 37]


def test_the_same_arguments_give_the_same_bytes_and_a_bigger_split_the_same_rows(folder: Path, tmp_path: Path) -> None:
    write_dataset(tmp_path / "again", counts=COUNTS, seed=7)
    names = [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]
    assert filecmp.cmpfiles(folder, tmp_path / "again", names, shallow=False)[1:] == ([], [])
    write_dataset(tmp_path / "less", counts={"train": 40}, seed=7)
    assert list(captions(tmp_path / "less", "train")) == list(captions(folder, "train"))[:40]
    pictures = [str(path.relative_to(tmp_path / "less")) for path in (tmp_path / "less" / "train").iterdir()]
    assert filecmp.cmpfiles(folder, tmp_path / "less", pictures, shallow=False)[1:] == ([], [])


def test_unknown_splits_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'dev' is not one of train, valid, test"):
        write_dataset(tmp_path, counts={"dev": 1}, seed=0)


def test_every_word_of_a_diagram_has_a_look_of_its_own() -> None:
    assert len(set(BODIES.values())) == len(BODIES)
    assert len(set(MARKS.values())) == len(MARKS)


@given(SEEDS)
@settings(max_examples=30, deadline=None)
def test_diagrams_are_coloured_and_repeat(seed: int) -> None:
    image, text = draw_diagram(np.random.default_rng(seed))
    again, same = draw_diagram(np.random.default_rng(seed))
    assert (image.tobytes(), text) == (again.tobytes(), same)
    assert all(96 <= length <= 160 for length in image.size)
    # Radiology is grey; a diagram's body has a hue.
    pixels = np.asarray(image, dtype=int)
    assert (pixels.max(axis=2) - pixels.min(axis=2)).max() > 60


@given(SEEDS)
@settings(max_examples=30, deadline=None)
def test_general_pictures_match_their_size_range(seed: int) -> None:
    image, text = draw_scene(np.random.default_rng(seed))
    assert image.mode == "RGB"
    assert all(96 <= length <= 160 for length in image.size)
    assert text.endswith(" background.")
    assert not find_concepts(text) - {lexicon.find(side).cui for side in ("left", "right")}
