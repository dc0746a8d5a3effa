"""params.yaml and the files of configs/ as one tree, from a folder or from any commit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from radcap.errors import UserError

PARAMS = "params.yaml"
MODELS = "configs/models"
SCORERS = "configs/scorers.yaml"
MODALITY = "configs/modality.yaml"
MINIATURES = "configs/miniatures.yaml"

# Takes a path relative to the project's root; raises FileNotFoundError.
ReadText = Callable[[str], str]


def read_tree(read_text: ReadText) -> dict[str, Any]:
    """Read all files into the tree that settings.parse validates. UserError if a file is missing or not valid YAML."""
    tree = _read_yaml(read_text, PARAMS)
    keys = tree.get("models")
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise UserError(f"models: {keys!r} is not allowed; allowed: a list of models, each a file of {MODELS}")
    if repeated := sorted({key for key in keys if keys.count(key) > 1}):
        raise UserError(f"models: {repeated[0]} is listed more than once")
    models = {key: _read_model(read_text, key) for key in keys}
    classifier = _merged(tree.get("modality"), _read_yaml(read_text, MODALITY), "modality", MODALITY)
    scorers, miniatures = _read_yaml(read_text, SCORERS), _read_yaml(read_text, MINIATURES)
    profiles = tree.get("profiles")
    if isinstance(profiles, Mapping):
        profiles = {name: _with_sizes(profile, name, scorers, miniatures) for name, profile in profiles.items()}
    return {**tree, "models": models, "modality": classifier, "profiles": profiles}


def _read_model(read_text: ReadText, key: str) -> dict[str, Any]:
    try:
        return _read_yaml(read_text, f"{MODELS}/{key}.yaml")
    except FileNotFoundError:
        raise UserError(f"models: {key!r} has no file {MODELS}/{key}.yaml") from None


def _read_yaml(read_text: ReadText, name: str) -> dict[str, Any]:
    """Read a file as YAML 1.2. DVC writes 5e-05, which YAML 1.1 reads as text."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        tree = YAML(typ="safe").load(read_text(name))
    except FileNotFoundError:
        if name.startswith(f"{MODELS}/"):
            raise
        raise UserError(f"{name} not found; run from the project's root") from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{name} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(tree, dict):
        raise UserError(f"{name} must be a mapping of keys to values")
    return tree


def _with_sizes(
    profile: Any, name: str, scorers: Mapping[str, Any], miniatures: Mapping[str, Any]
) -> dict[str, Any] | Any:
    """Add the settings of phantoms, miniatures and scorers from configs/ to a profile."""
    if not isinstance(profile, Mapping):
        return profile
    key = f"profiles.{name}"
    miniature_scorers, own_scorers = _section(miniatures, "scorers"), profile.get("scorers")
    are_miniatures = isinstance(own_scorers, Mapping) and own_scorers.get("weights") == "miniature"
    layer = (miniature_scorers if are_miniatures else scorers).get("deberta_layer")
    published_scorers = {**scorers, "steps": miniature_scorers.get("steps"), "deberta_layer": layer}
    general = _section(miniatures, "general")
    if profile.get("weights") != "miniature" and not are_miniatures:
        # Published weights are already pretrained.
        general = dict.fromkeys(general, 0)
    phantoms = {**_section(miniatures, "phantoms"), **general}
    return {
        **profile,
        "data": _merged(profile.get("data"), phantoms, f"{key}.data", MINIATURES),
        "pretrain": miniatures.get("pretrain"),
        "scorers": _merged(own_scorers, published_scorers, f"{key}.scorers", SCORERS),
    }


def _section(tree: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = tree.get(name)
    if not isinstance(section, Mapping):
        raise UserError(f"{MINIATURES}: {name} must be a mapping of keys to values")
    return section


def _merged(section: Any, other: Mapping[str, Any], key: str, file: str) -> Any:
    """A section of params.yaml and the values of another file. UserError if both set a value."""
    if not isinstance(section, Mapping):
        return section
    if set_twice := sorted(section.keys() & other.keys()):
        raise UserError(f"{key}: {set_twice[0]} can only be set in {file}")
    return {**section, **other}


def read_folder(root: Path) -> ReadText:
    """Read text from files below a folder."""
    return lambda name: (root / name).read_text(encoding="utf-8")
