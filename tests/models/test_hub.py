"""A hub id loads through the code that loads a local folder: from the hub's cache, offline, at a pinned commit."""

from pathlib import Path

import pytest
import torch

from radcap.errors import UserError
from radcap.models import base
from tests.models.test_base import logits
from tests.models_for_tests import KEYS, PARAMS, shared

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty hub cache, and no network."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


@pytest.mark.parametrize("key", KEYS)
def test_a_cached_snapshot_loads_offline(cache: Path, tmp_path: Path, key: str) -> None:
    repository, name = cache / "models--someone--model", PARAMS.models[key].family
    snapshot = repository / "snapshots" / COMMIT
    base.save_miniature(shared(key), snapshot, family_name=name)
    (snapshot / base.RECORD).unlink()
    (repository / "refs").mkdir()
    (repository / "refs/main").write_text(COMMIT)
    record = base.record_published(tmp_path / "b", family_name=name, checkpoint="someone/model", revision="main")
    assert (record["checkpoint"], record["revision"]) == ("someone/model", COMMIT)
    assert set(record["files"]) == {path.name for path in snapshot.iterdir()}
    loaded = base.load(tmp_path / "b", dtype="float32")
    assert torch.allclose(logits(loaded, key), logits(shared(key), key), atol=1e-5)


def test_a_commit_that_is_not_cached_is_one_clear_line(cache: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="neither a local folder nor reachable on the hub") as caught:
        base.record_published(tmp_path / "b", family_name="llava", checkpoint="someone/model", revision=COMMIT)
    assert "\n" not in str(caught.value)
