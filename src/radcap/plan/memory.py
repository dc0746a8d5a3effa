"""Device memory that training takes, and an adapter's size on disk, in bytes.

Not counted: the CUDA context (about 0.5 GiB), the allocator's fragmentation, kernels' workspaces, and gradients of
activations, which live for one operation each.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from radcap.adapt.strategies import Targets
from radcap.plan.sizes import Sizes, trained_parameters

FLOAT32 = 4
ELEMENTS = {"bfloat16": 2, "float32": FLOAT32}
# AdamW's first and second moments (Loshchilov and Hutter 2019), in float32 like the weights that train.
MOMENTS = 2
# NF4 with double quantization (Dettmers et al. 2023, QLoRA): 4 bits a weight, an 8-bit scale per block of 64, a
# float32 scale per 256 of these: 4 + 8 / 64 + 32 / (64 * 256) bits.
NF4_BITS = 4 + 8 / 64 + 32 / (64 * 256)
# peft's prepare_model_for_kbit_training turns to float32 what is not in 4 bits, norms and embeddings too, and with
# them the activations.
QLORA_REST = QLORA_ELEMENT = FLOAT32
# Of a label token's logits: as the head gives them, in float32 for the loss, the log-softmax kept, its gradient.
LOGIT_COPIES_FLOAT32 = 3
# A tensor's entry in the header of a safetensors file: name, type, shape, offsets.
TENSOR_ENTRY = 150


@dataclass(frozen=True)
class Memory:
    """Bytes on the device at the end of a forward pass, moments made; `checkpointed` stands for `activations` where
    activation checkpointing is on (None: not estimated)."""

    weights: int
    trained: int
    gradients: int
    moments: int
    logits: int
    activations: int
    checkpointed: int | None = None

    def as_dict(self) -> dict[str, int | None]:
        """The fields, and both totals."""
        rest = self.weights + self.trained + self.gradients + self.moments + self.logits
        short = None if self.checkpointed is None else rest + self.checkpointed
        return {**asdict(self), "total": rest + self.activations, "total_checkpointed": short}


def weight_bytes(sizes: Sizes, *, dtype: str, quantized: bool) -> int:
    """The frozen base. In 4 bits: all linear layers but the head, as transformers hands them to bitsandbytes."""
    if not quantized:
        return sizes.total * ELEMENTS[dtype]
    linear = (m for m in sizes.inventory if m.kind != "embedding" and m.component != "head")
    # A bias is no part of the quantized weight.
    packed = sum(m.inputs * m.outputs for m in linear)
    return round(packed * NF4_BITS / 8) + (sizes.total - packed) * QLORA_REST


def element_bytes(*, dtype: str, quantized: bool) -> int:
    """Bytes a number of the base's activations."""
    return QLORA_ELEMENT if quantized else ELEMENTS[dtype]


def logit_bytes(sizes: Sizes, *, labels: int, element: int) -> int:
    """Logits of so many label tokens and what the loss makes of them."""
    vocabulary = next(m.outputs for m in sizes.inventory if m.component == "head")
    return labels * vocabulary * (element + LOGIT_COPIES_FLOAT32 * FLOAT32)


def estimate(
    *, weights: int, trained: int, logits: int, activations: float, checkpointed: float | None = None
) -> Memory:
    """All together for `trained` parameters that are float32, their gradients and moments too."""
    size, short = trained * FLOAT32, None if checkpointed is None else round(checkpointed)
    return Memory(weights, size, size, MOMENTS * size, logits, round(activations), short)


def disk_bytes(sizes: Sizes, targets: Targets, *, r: int, dora: bool) -> int:
    """adapter_model.safetensors: what trained in float32, and a header. A head that shares its weight with the
    embeddings is stored beside them."""
    tensors = len(targets.lora) * (3 if dora else 2) + len(targets.full)
    return trained_parameters(sizes.inventory, targets, r=r, dora=dora) * FLOAT32 + tensors * TENSOR_ENTRY


def counted_activations(model: Any, inputs: dict[str, Any]) -> int:
    """Bytes that autograd keeps in a forward pass of `model`, weights aside, by running it on the meta device.

    For models that train in full: exact, and needed where no table of transformer operations holds (a DenseNet).
    """
    import torch

    weights = {p.untyped_storage()._cdata for p in (*model.parameters(), *model.buffers())}
    storages: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in weights:
            storages[storage._cdata] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model.train()(**inputs)
    return sum(storage.nbytes() for storage in storages.values())
