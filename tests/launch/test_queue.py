"""Which stages a change reaches, and in which order workers take them."""

import pytest

from radcap.launch.repro import STAGES, Queue, chains
from tests.models_for_tests import KEYS, PARAMS

AWAITED = [["scorers"], ["modality"]]
CHAIN = {key: [f"{stage}@{key}" for stage in STAGES] for key in KEYS}


@pytest.mark.parametrize(
    ("changed", "lanes"),
    [
        (set(), []),
        ({"aggregate"}, []),
        ({"prepare"}, [*AWAITED, *CHAIN.values()]),
        ({"scorers"}, [*AWAITED, *CHAIN.values()]),
        ({"modality"}, [*AWAITED, *CHAIN.values()]),
        ({"score@smolvlm_500m"}, [CHAIN["smolvlm_500m"]]),
        ({"base@vision_gpt2", "aggregate"}, [CHAIN["vision_gpt2"]]),
    ],
)
def test_lanes(changed: set[str], lanes: list[list[str]]) -> None:
    assert chains(PARAMS, changed) == lanes


@pytest.mark.parametrize(("stage", "awaited"), [("score", "scorers"), ("generate", "modality")])
def test_stages_are_taken_once_in_their_chains_order_and_after_what_they_wait_for(stage: str, awaited: str) -> None:
    queue = Queue([[awaited], ["base@a", f"{stage}@a"], ["base@b", f"{stage}@b"]])
    assert [queue.take() for _ in range(4)] == [
        (awaited, awaited),
        ("base@a", "base@a"),
        ("base@b", "base@b"),
        None,
    ]
    queue.done("base@a")
    assert queue.take() is None
    queue.done(awaited)
    assert queue.take() == ("base@a", f"{stage}@a")
    queue.done("base@b")
    queue.done("base@a")
    assert queue.take() == ("base@b", f"{stage}@b")
    assert queue.take() is None
    queue.done("base@b")
    assert not queue.left


def test_what_is_waited_for_comes_first_and_holds_up_just_its_own_stages() -> None:
    queue = Queue([["scorers"], ["modality"], ["base@a", "generate@a"], ["finetune@b", "score@b"]])
    assert [queue.take() for _ in range(4)] == [
        (name, name) for name in ("scorers", "modality", "base@a", "finetune@b")
    ]
    queue.done("base@a")
    queue.done("finetune@b")
    assert queue.take() is None
    queue.done("modality")
    assert queue.take() == ("base@a", "generate@a")
    assert queue.take() is None
    queue.done("scorers")
    assert queue.take() == ("finetune@b", "score@b")


def test_the_chain_with_most_left_goes_on_first() -> None:
    queue = Queue([["base@a", "finetune@a", "score@a"], ["finetune@b", "score@b"], ["score@c"]])
    order = []
    while (taken := queue.take()) is not None:
        order.append(taken[1])
        queue.done(taken[0])
    assert order == ["base@a", "finetune@a", "finetune@b", "score@a", "score@b", "score@c"]
