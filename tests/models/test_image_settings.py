"""A model block's image settings take the place of the checkpoint's own, wherever its processor is loaded."""

from pathlib import Path
from typing import Any

import pytest

from radcap.errors import UserError
from radcap.models import base
from radcap.models.inputs import encode, fill_template
from tests.conftest import png
from tests.models_for_tests import KEYS, PARAMS, shared

# Settings, and how a picture of 128 x 64 is then shaped.
ONE_TILE = [[24, 24]]
CASES: list[tuple[str, dict[str, Any], str, tuple[int, ...]]] = [
    ("llava_mistral_7b", {"image_grid_pinpoints": ONE_TILE}, "pixel_values", (1, 2, 3, 24, 24)),
    ("qwen2_vl_2b", {"max_pixels": 2 * 16 * 16}, "image_grid_thw", (1, 3)),
    ("smolvlm_500m", {"do_image_splitting": False}, "pixel_values", (1, 1, 3, 32, 32)),
]


@pytest.fixture
def checkpoint(tmp_path: Path):
    def save(key: str) -> Path:
        base.save_miniature(shared(key), tmp_path / "checkpoint", family_name=PARAMS.models[key].family)
        return tmp_path / "checkpoint"

    return save


@pytest.mark.parametrize(("key", "image", "name", "shape"), CASES)
def test_settings_are_recorded_and_applied(checkpoint, tmp_path: Path, key: str, image, name: str, shape) -> None:
    options = {"family_name": PARAMS.models[key].family, "checkpoint": str(checkpoint(key)), "revision": "main"}
    prompt, picture = fill_template(PARAMS.models[key].template, "x"), png(size=(128, 64))
    lengths = {}
    for label, given in (("own", {}), ("changed", image)):
        record = base.record_published(tmp_path / label, image=given, **options)
        assert record["image"] == given
        loaded = base.load(tmp_path / label, dtype="float32")
        features, _ = encode(loaded, picture, prompt)
        lengths[label] = features["input_ids"].shape[1]
        # The model must agree on the number of image tokens.
        loaded.model.eval()(**features)
    assert tuple(features[name].shape) == shape
    assert lengths["changed"] < lengths["own"]


@pytest.mark.parametrize("key", KEYS)
def test_an_unknown_setting_is_one_clear_line(checkpoint, key: str) -> None:
    folder = checkpoint(key)
    with pytest.raises(UserError, match=r"image: .*'tiles'") as caught:
        base.load_weights(shared(key).family, str(folder), revision=None, dtype="float32", image={"tiles": 3})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", [key for key in KEYS if PARAMS.models[key].image != "none"])
def test_the_settings_of_params_are_known_to_their_processors(key: str) -> None:
    kind = type(shared(key).processor.image_processor)
    assert PARAMS.models[key].image.keys() <= kind.valid_kwargs.__annotations__.keys()
