"""Fine-tuned models on disk: adapters in peft's own format or whole weights, loaded back strictly."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from radcap import files
from radcap.errors import UserError
from radcap.models import base
from radcap.models.base import Loaded
from radcap.models.family import family

if TYPE_CHECKING:
    import torch


def save_tuned(
    loaded: Loaded, trainee: Any, folder: Path, *, base_folder: Path, weights: dict[str, torch.Tensor] | None = None
) -> None:
    """Adapters in peft's own format, with their base's place; or all weights in the published layout.

    `weights`: by name, where the model's own are not whole in this process.

    The place of published weights is their checkpoint and revision, which peft and others look up by themselves.
    """
    from peft import PeftModel

    if isinstance(trainee, PeftModel):
        record = files.read_json(base_folder / base.RECORD)
        for config in trainee.peft_config.values():
            config.base_model_name_or_path = record["checkpoint"] or base_folder.as_posix()
            config.revision = record["revision"]
            # peft keeps a set, whose order is another in every process.
            config.target_modules = sorted(config.target_modules)
        trainee.save_pretrained(str(folder), state_dict=weights)
        # peft's model card, which names nothing that the base's record and the audit do not
        (folder / "README.md").unlink(missing_ok=True)
    else:
        trainee.save_pretrained(str(folder), state_dict=weights)
        loaded.family.save_processor(loaded.processor, str(folder))


def load_tuned(folder: Path, base_folder: Path, *, dtype: str) -> Loaded:
    """A fine-tuned model ready to caption: adapters on their base, merged; or weights that trained in full."""
    if not (folder / "adapter_config.json").exists():
        record = files.read_json(base_folder / base.RECORD)
        return base.load_weights(family(record["family"]), str(folder), revision=None, dtype=dtype)
    from peft import PeftModel, get_peft_model_state_dict
    from safetensors import safe_open

    loaded = base.load(base_folder, dtype=dtype)
    tuned = PeftModel.from_pretrained(loaded.model, str(folder))
    with safe_open(str(folder / "adapter_model.safetensors"), framework="pt") as stored:
        wrong = set(stored.keys()) ^ set(get_peft_model_state_dict(tuned))
    if wrong:
        raise UserError(f"{folder}: the adapter does not fit its base ({len(wrong)} keys, first {min(wrong)})")
    loaded.model = tuned.merge_and_unload()
    return loaded
