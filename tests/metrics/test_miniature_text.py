"""The sample's BLEURT and AlignScore rank held-out candidates by their truth, and train to the same bytes."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from radcap import files, seeds
from radcap.metrics import miniature_text
from radcap.metrics.alignscore import AlignScorer
from radcap.metrics.bleurt import BleurtScorer
from radcap.metrics.miniature_text import PAIRS, train_alignscore, train_bleurt
from radcap.metrics.pairs import KINDS, LEVELS, Pair, make_pairs

pytestmark = pytest.mark.slow

SEED, STEPS = 42, 800
TRAIN = {"bleurt": train_bleurt, "alignscore": train_alignscore}
OPEN = {"bleurt": BleurtScorer, "alignscore": AlignScorer}
FILES = {
    "bleurt": {"config.json", "model.safetensors", "spm.model"},
    "alignscore": {"config.json", "merges.txt", "vocab.json", "weights.safetensors"},
}
# What two neighbouring levels' means differ by at least, and Spearman's correlation with the levels.
MARGIN = {"bleurt": 0.02, "alignscore": 0.015}
CORRELATION = {"bleurt": 0.85, "alignscore": 0.75}


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """More than one thread by default, so that a training's own single one shows."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Both models, trained as the sample trains them."""
    root = tmp_path_factory.mktemp("miniatures")
    for name, train in TRAIN.items():
        train(root / name, steps=STEPS, seed=SEED)
    return {name: root / name for name in TRAIN}


@pytest.fixture(scope="module")
def held_out() -> list[Pair]:
    """Pairs of cases drawn by another generator, none of whose references any model has read."""
    seen: set[str] = set()
    for name in TRAIN:
        rng = np.random.default_rng(seeds.derive(SEED, "pairs", name))
        seen.update(text for pair in make_pairs(rng, PAIRS) for text in (pair.reference, pair.candidate))
    drawn = make_pairs(np.random.default_rng(seeds.derive(SEED, "held out")), 7 * 120)
    return [pair for pair in drawn if pair.reference not in seen]


@pytest.mark.parametrize("name", TRAIN)
def test_held_out_candidates_are_ranked_by_their_truth(
    name: str, checkpoints: dict[str, Path], held_out: list[Pair]
) -> None:
    scorer = OPEN[name](checkpoints[name])
    scores = scorer.score([pair.candidate for pair in held_out], [pair.reference for pair in held_out])
    levels = [LEVELS[pair.kind] for pair in held_out]
    assert min(sum(pair.kind == kind for pair in held_out) for kind in KINDS) > 40
    means = [np.mean([s for s, at in zip(scores, levels, strict=True) if at == level]) for level in range(5)]
    by_kind = {k: np.mean([s for s, p in zip(scores, held_out, strict=True) if p.kind == k]) for k in KINDS}
    assert all(better - worse > MARGIN[name] for better, worse in pairwise(means)), means
    # Each of the three wrong facts for itself, too.
    wrong = [by_kind[kind] for kind in KINDS if LEVELS[kind] == 2]
    assert by_kind["paraphrase"] > max(wrong) > min(wrong) > by_kind["other case"], by_kind
    assert -spearmanr(scores, levels).statistic > CORRELATION[name]


@pytest.mark.parametrize("name", TRAIN)
def test_a_checkpoint_has_the_published_files_and_is_small(name: str, checkpoints: dict[str, Path]) -> None:
    found = {path.name: path.stat().st_size for path in checkpoints[name].iterdir()}
    assert found.keys() == FILES[name]
    assert sum(found.values()) < 1e6


@pytest.mark.parametrize("name", TRAIN)
def test_steps_and_seed_decide_every_byte(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(miniature_text, "PAIRS", 700)
    for run, seed in (("first", 1), ("second", 1), ("other", 2)):
        torch.manual_seed(len(run))
        TRAIN[name](tmp_path / run, steps=3, seed=seed)
    first, second, other = (files.folder_hashes(tmp_path / run) for run in ("first", "second", "other"))
    assert first == second
    assert all(first[file] != other[file] for file in FILES[name] - {"config.json"})
    assert torch.get_num_threads() == 2
