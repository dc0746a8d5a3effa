"""The miniatures have the published layouts, and the same seed gives the same bytes, whatever ran before."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from radcap import files
from radcap.errors import UserError
from radcap.metrics.alignscore import AlignScorer
from radcap.metrics.bertscore import BertScorer
from radcap.metrics.bleurt import BleurtScorer
from radcap.metrics.miniatures.alignscore import train_alignscore
from radcap.metrics.miniatures.bleurt import train_bleurt
from radcap.metrics.miniatures.deberta import train_deberta
from radcap.metrics.miniatures.medimageinsight import train_medimageinsight
from radcap.metrics.similarity import SimilarityScorer
from tests.metrics.miniatures.phantoms import rows

ROWS = rows(40, seed=5)
CAPTIONS = [row["caption"] for row in ROWS]
TEXTS = ["CT of the chest with a nodule.", "A normal MRI of the brain."]
IMAGES = [row["image"] for row in ROWS[:2]]

TRAIN: dict[str, Callable[..., None]] = {
    "similarity": lambda folder, **options: train_medimageinsight(ROWS, folder, **options),
    "bertscore": lambda folder, **options: train_deberta(CAPTIONS, folder, **options),
    "bleurt": train_bleurt,
    "alignscore": train_alignscore,
}
SCORE: dict[str, Callable[[Path], list[float | None]]] = {
    "similarity": lambda folder: SimilarityScorer(folder).score(TEXTS, IMAGES),
    "bertscore": lambda folder: BertScorer(folder, layer=2).score(TEXTS, TEXTS[::-1])["f1"],
    "bleurt": lambda folder: BleurtScorer(folder).score(TEXTS, TEXTS[::-1]),
    "alignscore": lambda folder: AlignScorer(folder).score(TEXTS, TEXTS[::-1]),
}
WEIGHTS = {
    "similarity": "weights.safetensors",
    "bertscore": "model.safetensors",
    "bleurt": "model.safetensors",
    "alignscore": "weights.safetensors",
}
FILES = {
    "similarity": {"config.json", "merges.txt", "vocab.json", "weights.safetensors"},
    "bertscore": {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"},
    "bleurt": {"config.json", "model.safetensors", "spm.model"},
    "alignscore": {"config.json", "merges.txt", "vocab.json", "weights.safetensors"},
}


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """Two threads by default, so that a training that does not set one would be noticed."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("metric", TRAIN)
def test_steps_and_seed_decide_every_byte(metric: str, tmp_path: Path) -> None:
    for run, seed in (("first", 1), ("second", 1), ("other", 2)):
        # Whatever ran before in this process.
        torch.manual_seed(len(run))
        TRAIN[metric](tmp_path / run, steps=3, seed=seed)
    first, second, other = (files.folder_hashes(tmp_path / run) for run in ("first", "second", "other"))
    assert first == second
    assert first[WEIGHTS[metric]] != other[WEIGHTS[metric]]
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize("metric", TRAIN)
def test_a_folder_is_laid_out_as_published_small_and_opens(metric: str, tmp_path: Path) -> None:
    TRAIN[metric](tmp_path / "made", steps=2, seed=1)
    found = {path.name: path.stat().st_size for path in (tmp_path / "made").iterdir()}
    assert found.keys() == FILES[metric]
    assert sum(found.values()) < 1.5e6
    scores = SCORE[metric](tmp_path / "made")
    assert len(scores) == 2 and all(isinstance(score, float) for score in scores)


def test_no_rows_and_no_captions_are_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="MedImageInsight cannot be trained on no rows"):
        train_medimageinsight([], tmp_path / "made", steps=1, seed=1)
    with pytest.raises(UserError, match="DeBERTa cannot be trained on no captions"):
        train_deberta([], tmp_path / "made", steps=1, seed=1)
    assert not list(tmp_path.iterdir())


def test_captions_without_known_facts_train_too(tmp_path: Path) -> None:
    """For other images only the contrastive loss and the noise remain."""
    strange = [row | {"caption": f"A photograph of object {number}."} for number, row in enumerate(ROWS)]
    train_medimageinsight(strange[:5], tmp_path / "made", steps=2, seed=1)
    assert all(score == score for score in SCORE["similarity"](tmp_path / "made"))
