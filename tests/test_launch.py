"""Which stages a change reaches, and in which order workers take them."""

import pytest

from radcap.launch import STAGES, Queue, chains
from tests.models_for_tests import KEYS, PARAMS

CHAIN = {key: [f"{stage}@{key}" for stage in STAGES] for key in KEYS}


@pytest.mark.parametrize(
    ("changed", "lanes"),
    [
        (set(), []),
        ({"aggregate"}, []),
        ({"prepare"}, [["scorers"], *CHAIN.values()]),
        ({"scorers"}, [["scorers"], *CHAIN.values()]),
        ({"score@smolvlm_500m"}, [CHAIN["smolvlm_500m"]]),
        ({"base@vision_gpt2", "aggregate"}, [CHAIN["vision_gpt2"]]),
    ],
)
def test_lanes(changed: set[str], lanes: list[list[str]]) -> None:
    assert chains(PARAMS, changed) == lanes


def test_stages_are_taken_once_in_their_chains_order_and_scores_after_the_scorers() -> None:
    queue = Queue([["scorers"], ["base@a", "score@a"], ["base@b", "score@b"]])
    assert [queue.take() for _ in range(4)] == [
        ("scorers", "scorers"),
        ("base@a", "base@a"),
        ("base@b", "base@b"),
        None,
    ]
    queue.done("base@a")
    assert queue.take() is None
    queue.done("scorers")
    assert queue.take() == ("base@a", "score@a")
    queue.done("base@b")
    queue.done("base@a")
    assert queue.take() == ("base@b", "score@b")
    assert queue.take() is None
    queue.done("base@b")
    assert not queue.left


def test_the_chain_with_most_left_goes_on_first() -> None:
    queue = Queue([["base@a", "finetune@a", "score@a"], ["finetune@b", "score@b"], ["score@c"]])
    order = []
    while (taken := queue.take()) is not None:
        order.append(taken[1])
        queue.done(taken[0])
    assert order == ["base@a", "finetune@a", "finetune@b", "score@a", "score@b", "score@c"]
