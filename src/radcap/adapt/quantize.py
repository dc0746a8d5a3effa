"""4-bit weights under LoRA (QLoRA, Dettmers et al. 2023): NF4 with double quantization, by bitsandbytes."""

from importlib.util import find_spec
from typing import Any

import torch

from radcap.errors import UserError


def four_bit(dtype: str) -> dict[str, Any]:
    """Options of from_pretrained for a base in 4 bits, computed in `dtype`. UserError without GPU or bitsandbytes."""
    if not torch.cuda.is_available():
        raise UserError("lora.quantize: '4bit' needs a CUDA GPU, and none is here; set it to 'none'")
    if find_spec("bitsandbytes") is None:
        raise UserError("lora.quantize: '4bit' needs the package bitsandbytes; pip install 'radcap[qlora]'")
    from transformers import BitsAndBytesConfig

    config = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=getattr(torch, dtype),
    )
    return {"quantization_config": config, "device_map": {"": 0}}
