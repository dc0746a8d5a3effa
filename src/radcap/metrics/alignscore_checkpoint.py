"""AlignScore's checkpoint (Zha et al. 2023): converts the published file to safetensors, and loads the result."""

from __future__ import annotations

import json
import pickle
import re
import shutil
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from transformers import AddedToken, RobertaConfig, RobertaModel, RobertaTokenizer

from radcap import files
from radcap.errors import UserError

CONFIG, VOCAB, MERGES, WEIGHTS, SOURCE = "config.json", "vocab.json", "merges.txt", "weights.safetensors", "source.json"
MAX_TOKENS = 512
# {head: number of outputs}. All heads read the encoder's pooled first token.
HEADS = {"bin_layer": 2, "tri_layer": 3, "reg_layer": 1}
ENCODER_PREFIX = "base_model."
# The pretraining head, and a buffer of older versions of transformers.
UNUSED_WEIGHTS = re.compile(r"mlm_head\.|base_model\.embeddings\.position_ids$")
CONFIG_KEYS = (
    *("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act"),
    *("max_position_embeddings", "type_vocab_size", "layer_norm_eps", "pad_token_id", "bos_token_id", "eos_token_id"),
)
Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Checkpoint:
    """A RoBERTa with pooler, {head: (weight, bias)}, and RoBERTa's tokenizer."""

    encoder: RobertaModel
    heads: dict[str, tuple[Tensor, Tensor]]
    tokenizer: RobertaTokenizer


def convert(ckpt: Path, folder: Path, *, roberta: Path | None = None) -> str:
    """Convert the published Lightning file to a folder that `load` reads; return the file's SHA-256.

    `roberta`: the folder of config.json, vocab.json and merges.txt of the RoBERTa that it was trained from
    (roberta-base for AlignScore-base.ckpt), by default the file's own. Tensors that no score depends on (mlm_head.*)
    are left out. source.json records the file's name, its hash, and the name of the RoBERTa. No code in the file's
    pickle is run. UserError: a file is missing or damaged; weights are missing, unexpected or of another shape; or
    `folder` holds anything other than an earlier conversion, which is replaced as a whole.
    """
    roberta_files = (CONFIG, VOCAB, MERGES)
    roberta = roberta or ckpt.parent
    _require_files(roberta, roberta_files)
    if folder.exists() and (others := sorted({p.name for p in folder.iterdir()} - {*roberta_files, WEIGHTS, SOURCE})):
        raise UserError(f"AlignScore: {folder} holds other files, first {others[0]}; name a new folder")
    _, expected = _read_config(roberta)
    stored = _read_lightning(ckpt)
    tensors: dict[str, Tensor] = {name: t for name, t in stored["state_dict"].items() if not UNUSED_WEIGHTS.match(name)}
    _check_shapes(ckpt, {name: tuple(t.shape) for name, t in tensors.items()}, expected)
    digest = files.sha256(ckpt)
    model = str((stored.get("hyper_parameters") or {}).get("model", "unknown"))
    with files.atomic_folder(folder) as out:
        save_file({name: t.float().contiguous() for name, t in tensors.items()}, out / WEIGHTS, {"format": "pt"})
        for name in roberta_files:
            shutil.copyfile(roberta / name, out / name)
        files.write_json(out / SOURCE, {"file": ckpt.name, "sha256": digest, "model": model})
    return digest


def load(folder: Path) -> Checkpoint:
    """Load a converted checkpoint strictly, in single precision.

    UserError, in one line: a file is missing or damaged, or weights are missing, unexpected, of another shape or not
    finite.
    """
    _require_files(folder, (CONFIG, VOCAB, MERGES, WEIGHTS))
    config, expected = _read_config(folder)
    try:
        with safe_open(folder / WEIGHTS, framework="pt") as stored:
            names = [name for name in stored.keys() if not UNUSED_WEIGHTS.match(name)]  # noqa: SIM118 - not a dict
            _check_shapes(folder, {name: tuple(stored.get_slice(name).get_shape()) for name in names}, expected)
            tensors = {name: stored.get_tensor(name).float() for name in names}
    except SafetensorError as error:
        raise UserError(f"AlignScore: {folder / WEIGHTS} is damaged ({error})") from None
    if infinite := [name for name in names if not tensors[name].isfinite().all()]:
        raise UserError(f"AlignScore in {folder}: {len(infinite)} weights are not finite, first {infinite[0]}")
    state = {name.removeprefix(ENCODER_PREFIX): t for name, t in tensors.items() if name.startswith(ENCODER_PREFIX)}
    encoder = RobertaModel.from_pretrained(None, config=config, state_dict=state)
    heads = {head: (tensors[f"{head}.weight"], tensors[f"{head}.bias"]) for head in HEADS}
    return Checkpoint(encoder.eval(), heads, _load_tokenizer(folder, config))


def _require_files(folder: Path, names: Sequence[str]) -> None:
    if missing := [name for name in names if not (folder / name).is_file()]:
        raise UserError(f"AlignScore: {folder} has no {', '.join(missing)}")


def _read_lightning(ckpt: Path) -> dict[str, Any]:
    if not ckpt.is_file():
        raise UserError(f"AlignScore: {ckpt} not found")
    try:
        # Memory-mapped, because half of the file is not needed.
        content = torch.load(ckpt, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(ckpt))
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise UserError(f"AlignScore: {ckpt} cannot be read ({' '.join(str(error).split())[:200]})") from None
    state = content.get("state_dict") if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"AlignScore: {ckpt} holds no state_dict of tensors, so it is not a Lightning checkpoint")
    return dict(content)


def _read_config(folder: Path) -> tuple[RobertaConfig, Shapes]:
    """The configuration of the RoBERTa, and the shapes of all its weights, including the heads."""
    try:
        raw = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        config = RobertaConfig(**{key: raw[key] for key in CONFIG_KEYS})
        with torch.device("meta"):
            shapes = {ENCODER_PREFIX + name: tuple(t.shape) for name, t in RobertaModel(config).state_dict().items()}
    except Exception as error:  # transformers raises a dozen classes for wrong values
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise UserError(f"AlignScore: {folder / CONFIG} does not describe a RoBERTa ({reason})") from None
    # RoBERTa numbers positions from pad_token_id + 1.
    if (longest := config.max_position_embeddings - config.pad_token_id - 1) < MAX_TOKENS:
        raise UserError(f"AlignScore: {folder / CONFIG} allows {longest} tokens, fewer than {MAX_TOKENS}")
    for head, outputs in HEADS.items():
        shapes |= {f"{head}.weight": (outputs, config.hidden_size), f"{head}.bias": (outputs,)}
    return config, shapes


def _check_shapes(path: Path, shapes: Shapes, expected: Shapes) -> None:
    faults = {
        "missing": expected.keys() - shapes.keys(),
        "unexpected": shapes.keys() - expected.keys(),
        "of another shape": {name for name in expected.keys() & shapes.keys() if expected[name] != shapes[name]},
    }
    if messages := [
        f"{len(names)} weights are {fault}, first {min(names)}" for fault, names in faults.items() if names
    ]:
        raise UserError(f"AlignScore in {path}: {'; '.join(messages)}")


def _load_tokenizer(folder: Path, config: RobertaConfig) -> RobertaTokenizer:
    # In the published tokenizer the mask token includes the blank before it.
    mask = AddedToken("<mask>", lstrip=True, special=True)
    try:
        tokenizer = RobertaTokenizer(vocab=str(folder / VOCAB), merges=str(folder / MERGES), mask_token=mask)
    except Exception as error:  # the tokenizers library raises no other class
        reason = " ".join(str(error).split())
        raise UserError(f"AlignScore: {VOCAB} or {MERGES} in {folder} is damaged ({reason})") from None
    if sorted(tokenizer.get_vocab().values()) != list(range(config.vocab_size)):
        raise UserError(f"AlignScore: {folder / VOCAB} does not number the {config.vocab_size} tokens of {CONFIG}")
    if tokenizer.pad_token_id != config.pad_token_id:
        raise UserError(f"AlignScore: {VOCAB} and {CONFIG} in {folder} differ in the id of <pad>")
    return tokenizer
