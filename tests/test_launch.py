"""Which lanes a change opens."""

import pytest

from radcap.launch import STAGES, chains
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
