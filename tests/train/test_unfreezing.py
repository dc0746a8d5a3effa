"""Progressive unfreezing: frozen components keep their weights, and the log counts the trainable parameters."""

import pytest
import torch

from radcap.settings import Phase, Plateau
from radcap.train.unfreezing import count_trainable, freeze_components, phase_starts
from tests.models_for_tests import PARAMS, fresh
from tests.train.test_fit import rows, trained  # noqa: F401

FULL_KEYS = tuple(key for key, model in PARAMS.models.items() if model.tuning == "full")


def phase(share: float, *frozen: str) -> Phase:
    return Phase(share=share, frozen=frozen)


@pytest.mark.parametrize(
    ("shares", "steps", "expected"),
    [((1.0,), 10, [0]), ((0.5, 0.5), 10, [0, 5]), ((0.3, 0.7), 250, [0, 75]), ((0.2, 0.3, 0.5), 10, [0, 2, 5])],
)
def test_phases_start_after_the_shares_before_them(shares: tuple[float, ...], steps: int, expected: list[int]) -> None:
    assert phase_starts([phase(share) for share in shares], steps) == expected


@pytest.mark.parametrize("key", FULL_KEYS)
def test_freezing_leaves_only_the_other_components_trainable(key: str) -> None:
    loaded = fresh(key)
    total = count_trainable(loaded.model)
    for frozen in ((), ("vision",), ("vision", "connector"), ("embeddings", "language", "head")):
        count = freeze_components(loaded.family, loaded.model, frozen)
        frozen_parameters = [p for n, p in loaded.model.named_parameters() if loaded.family.component(n) in frozen]
        assert not any(p.requires_grad for p in frozen_parameters)
        assert count == total - sum(p.numel() for p in frozen_parameters)


@pytest.mark.parametrize("key", FULL_KEYS)
def test_a_frozen_tower_keeps_its_weights_until_its_phase(key: str, rows) -> None:  # noqa: F811
    def weights(component: str, loaded) -> dict[str, torch.Tensor]:
        return {n: t.clone() for n, t in loaded.model.state_dict().items() if loaded.family.component(n) == component}

    start = weights("vision", fresh(key))
    log, loaded = trained(key, rows, phases=(phase(1.0, "vision"),))
    assert all(torch.equal(start[n], t) for n, t in weights("vision", loaded).items())
    counts = {row["trainable"] for row in log}
    assert counts == {freeze_components(loaded.family, loaded.model, ["vision"])}

    log, loaded = trained(key, rows, phases=(phase(0.5, "vision"), phase(0.5)))
    assert not all(torch.equal(start[n], t) for n, t in weights("vision", loaded).items())
    total = freeze_components(loaded.family, loaded.model, [])
    assert [row["trainable"] for row in log if "loss" in row] == [*[counts.pop()] * 2, *[total] * 2]


def test_the_learning_rate_falls_when_the_validation_loss_does_not(rows) -> None:  # noqa: F811
    plateau = Plateau(factor=0.5, patience=1)
    log, _ = trained(FULL_KEYS[0], rows, learning_rate=4e-8, schedule="plateau", plateau=plateau, steps=5)
    # One step is an epoch. The first validation is the best, and the next two exceed a patience of one.
    rates = [row["learning_rate"] for row in log if "loss" in row]
    assert rates == pytest.approx([4e-8, 4e-8, 4e-8, 2e-8, 2e-8])
