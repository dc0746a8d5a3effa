"""The miniature scorers, trained as for the sample, rank held-out candidates by their quality."""

from itertools import pairwise

import numpy as np
import pytest

from radcap import seeds
from radcap.data.phantoms.captions import caption
from radcap.data.phantoms.diagrams import sample_unseen_case
from radcap.metrics import scorers
from radcap.metrics.evaluator import Evaluator
from radcap.metrics.miniatures.pair_training import MAX_PAIRS
from radcap.metrics.miniatures.pairs import KINDS, LEVELS, Pair, make_pairs
from tests.metrics.miniatures.phantoms import correlation, level_means, means, picture, rows
from tests.models_for_tests import PARAMS

pytestmark = pytest.mark.slow

SEED, SAMPLE = 42, PARAMS.profiles["sample"]
# Measure: by how much the means of two neighbouring levels differ at least, and Spearman's correlation.
BOUNDS = {
    "similarity": (0.1, 0.8),
    "bertscore_recall": (0.03, 0.8),
    "bertscore_f1": (0.03, 0.8),
    "bleurt": (0.02, 0.88),
    "alignscore": (0.015, 0.78),
}
# Of one image the reference and its paraphrase are equally true.
TOLERANCE = 0.1


@pytest.fixture(scope="module")
def held_out() -> list[Pair]:
    """Pairs from another generator, without references that any model was trained on."""
    seen: set[str] = set()
    for metric in ("bleurt", "alignscore"):
        rng = np.random.default_rng(seeds.derive_seed(SEED, "scorers", metric))
        seen.update(text for pair in make_pairs(rng, MAX_PAIRS) for text in (pair.reference, pair.candidate))
    seen.update(row["caption"] for row in rows(SAMPLE.data.train, SEED))
    drawn = make_pairs(np.random.default_rng(seeds.derive_seed(SEED, "held out")), len(KINDS) * 120)
    return [pair for pair in drawn if pair.reference not in seen]


@pytest.fixture(scope="module")
def scores(tmp_path_factory: pytest.TempPathFactory, held_out: list[Pair]) -> dict[str, list[float]]:
    folder = tmp_path_factory.mktemp("scorers")
    rng = np.random.default_rng(SEED)
    general = [caption(sample_unseen_case(rng), rng) for _ in range(SAMPLE.data.diagrams)]
    scorers.make_scorers(SAMPLE.scorers, folder, rows=rows(SAMPLE.data.train, SEED), general=general, seed=SEED)
    images = [picture(pair.reference_case, rng) for pair in held_out]
    texts = [pair.candidate for pair in held_out], [pair.reference for pair in held_out]
    evaluator = Evaluator(folder)
    assert not evaluator.missing
    return evaluator.score(*texts, images).values


@pytest.mark.parametrize("measure", BOUNDS)
def test_held_out_candidates_are_ranked_by_their_truth(
    measure: str, scores: dict[str, list[float]], held_out: list[Pair]
) -> None:
    """In the mean: the reference itself > a paraphrase > one wrong fact > another case > noise.

    For similarity the first two may tie: both say what the image shows.
    """
    margin, spearman = BOUNDS[measure]
    found = level_means(scores[measure], held_out)
    kinds = means(scores[measure], held_out)
    print(measure, [round(value, 3) for value in found], round(correlation(scores[measure], held_out), 3), kinds)
    assert min(sum(pair.kind == kind for pair in held_out) for kind in KINDS) > 40
    if measure == "similarity":
        assert abs(found[0] - found[1]) < TOLERANCE
        found = [min(found[:2]), *found[2:]]
    assert all(better - worse > margin for better, worse in pairwise(found)), found
    assert correlation(scores[measure], held_out) > spearman
    # Each of the three wrong facts for itself, too.
    wrong = [kinds[kind] for kind in KINDS if LEVELS[kind] == 2]
    assert kinds["paraphrase"] > max(wrong) > min(wrong) > kinds["other case"], kinds
