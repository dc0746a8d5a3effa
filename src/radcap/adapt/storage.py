"""Fine-tuned models on disk: adapters in peft's format or all weights, and strict loading of both."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from radcap import files
from radcap.errors import UserError
from radcap.models import base
from radcap.models.base import LoadedModel
from radcap.models.family import get_family

if TYPE_CHECKING:
    import torch


def save_fine_tuned(
    loaded: LoadedModel,
    trained: Any,
    folder: Path,
    *,
    base_folder: Path,
    weights: dict[str, torch.Tensor] | None = None,
) -> None:
    """Save adapters in peft's format with the location of their base, or all weights in the published layout.

    `trained` is the model after training, with its adapters. `weights` are its weights by name, needed only if this
    process does not hold them all. The location of a published base is its checkpoint and revision, which peft and
    other tools can look up by themselves.
    """
    from peft import PeftModel

    if isinstance(trained, PeftModel):
        record = files.read_json(base_folder / base.RECORD)
        for config in trained.peft_config.values():
            config.base_model_name_or_path = record["checkpoint"] or base_folder.as_posix()
            config.revision = record["revision"]
            # peft stores a set, whose order differs between processes.
            config.target_modules = sorted(config.target_modules)
        trained.save_pretrained(str(folder), state_dict=weights)
        # peft's model card says nothing that the record of the base and the audit do not.
        (folder / "README.md").unlink(missing_ok=True)
    else:
        trained.save_pretrained(str(folder), state_dict=weights)
        loaded.family.save_processor(loaded.processor, str(folder))


def load_fine_tuned(folder: Path, base_folder: Path, *, dtype: str) -> LoadedModel:
    """Load a fine-tuned model that is ready to caption: adapters merged into their base, or fully trained weights."""
    if not (folder / "adapter_config.json").exists():
        record = files.read_json(base_folder / base.RECORD)
        return base.load_weights(get_family(record["family"]), str(folder), revision=None, dtype=dtype)
    from peft import PeftModel, get_peft_model_state_dict
    from safetensors import safe_open

    loaded = base.load(base_folder, dtype=dtype)
    adapted = PeftModel.from_pretrained(loaded.model, str(folder))
    with safe_open(str(folder / "adapter_model.safetensors"), framework="pt") as stored:
        unmatched = set(stored.keys()) ^ set(get_peft_model_state_dict(adapted))
    if unmatched:
        raise UserError(
            f"{folder}: the adapter does not fit its base ({len(unmatched)} keys differ, first {min(unmatched)})"
        )
    loaded.model = adapted.merge_and_unload()
    return loaded
