"""The facts read from a caption are those that it was written from."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radcap.data.phantoms.captions import caption
from radcap.data.phantoms.case import sample_case
from radcap.metrics.miniatures.facts import FACTS, NO_FACT, fact_labels, read_case


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=200, deadline=None)
def test_a_captions_facts_are_its_cases(seed: int) -> None:
    rng = np.random.default_rng(seed)
    case = sample_case(rng)
    found = read_case(caption(case, rng))
    assert found is not None
    assert fact_labels(found) == fact_labels(case)
    assert (found.view, found.technique, found.size_mm) == (case.view, None, None)
    assert [values[number] for values, number in zip(FACTS.values(), fact_labels(case), strict=True)] == [
        getattr(case, name) for name in FACTS
    ]


UNTOLD = {
    "nothing": "",
    "no anatomy": "CT scan.",
    "no modality": "A nodule in the chest.",
    "two modalities": "CT and MRI of the brain.",
    "two findings": "CT of the chest with a nodule and a pneumothorax.",
    "no radiology": "A photograph of a cat.",
}


@pytest.mark.parametrize("name", UNTOLD)
def test_captions_of_no_one_case_have_none(name: str) -> None:
    assert read_case(UNTOLD[name]) is None


def test_no_case_has_no_facts() -> None:
    assert fact_labels(None) == [NO_FACT] * 4
