"""AlignScore's checkpoint (Zha et al. 2023): the published file to safetensors, and that folder into memory."""

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
# Outputs of each head, which reads the encoder's pooled first token.
HEADS = {"bin_layer": 2, "tri_layer": 3, "reg_layer": 1}
ENCODER = "base_model."
# Pretraining's head, and a buffer of older transformers.
UNUSED = re.compile(r"mlm_head\.|base_model\.embeddings\.position_ids$")
SIZES = (
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
    """Write the published Lightning file once as a folder that `load` reads; return the file's SHA-256.

    `roberta`: where config.json, vocab.json and merges.txt of the RoBERTa that it was trained from lie (roberta-base
    for AlignScore-base.ckpt), by default beside the file. Of the file's tensors only those that no score reads are
    left out (mlm_head.*). source.json records the file's name, its hash, and the RoBERTa that it names. The file's
    pickle runs no code. UserError: a file is missing or damaged, weights are missing, unexpected or of another shape,
    or `folder` holds anything but an earlier conversion, which is replaced as a whole.
    """
    parts = (CONFIG, VOCAB, MERGES)
    roberta = roberta or ckpt.parent
    _require(roberta, parts)
    if folder.exists() and (others := sorted({p.name for p in folder.iterdir()} - {*parts, WEIGHTS, SOURCE})):
        raise UserError(f"AlignScore: {folder} holds other files, first {others[0]}; name a new folder")
    _, wanted = _config(roberta)
    stored = _read_lightning(ckpt)
    tensors: dict[str, Tensor] = {name: t for name, t in stored["state_dict"].items() if not UNUSED.match(name)}
    _check(ckpt, {name: tuple(t.shape) for name, t in tensors.items()}, wanted)
    digest = files.sha256(ckpt)
    model = str((stored.get("hyper_parameters") or {}).get("model", "unknown"))
    with files.atomic_folder(folder) as beside:
        save_file({name: t.float().contiguous() for name, t in tensors.items()}, beside / WEIGHTS, {"format": "pt"})
        for name in parts:
            shutil.copyfile(roberta / name, beside / name)
        files.write_json(beside / SOURCE, {"file": ckpt.name, "sha256": digest, "model": model})
    return digest


def load(folder: Path) -> Checkpoint:
    """Read a converted checkpoint strictly, in single precision.

    UserError in one line: a file is missing or damaged, or weights are missing, unexpected, of another shape or not
    finite.
    """
    _require(folder, (CONFIG, VOCAB, MERGES, WEIGHTS))
    config, wanted = _config(folder)
    try:
        with safe_open(folder / WEIGHTS, framework="pt") as stored:
            names = [name for name in stored.keys() if not UNUSED.match(name)]  # noqa: SIM118 - no dict
            _check(folder, {name: tuple(stored.get_slice(name).get_shape()) for name in names}, wanted)
            tensors = {name: stored.get_tensor(name).float() for name in names}
    except SafetensorError as error:
        raise UserError(f"AlignScore: {folder / WEIGHTS} is damaged ({error})") from None
    if broken := [name for name in names if not tensors[name].isfinite().all()]:
        raise UserError(f"AlignScore in {folder}: {len(broken)} weights are not finite, first {broken[0]}")
    state = {name.removeprefix(ENCODER): t for name, t in tensors.items() if name.startswith(ENCODER)}
    encoder = RobertaModel.from_pretrained(None, config=config, state_dict=state)
    heads = {head: (tensors[f"{head}.weight"], tensors[f"{head}.bias"]) for head in HEADS}
    return Checkpoint(encoder.eval(), heads, _tokenizer(folder, config))


def _require(folder: Path, names: Sequence[str]) -> None:
    if missing := [name for name in names if not (folder / name).is_file()]:
        raise UserError(f"AlignScore: {folder} has no {', '.join(missing)}")


def _read_lightning(ckpt: Path) -> dict[str, Any]:
    if not ckpt.is_file():
        raise UserError(f"AlignScore: {ckpt} not found")
    try:
        # Mapped, because half of the file is never read.
        found = torch.load(ckpt, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(ckpt))
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise UserError(f"AlignScore: {ckpt} cannot be read ({' '.join(str(error).split())[:200]})") from None
    state = found.get("state_dict") if isinstance(found, dict) else None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"AlignScore: {ckpt} holds no state_dict of tensors, so it is no Lightning checkpoint")
    return dict(found)


def _config(folder: Path) -> tuple[RobertaConfig, Shapes]:
    """The RoBERTa's configuration, and the shapes of all weights that it asks for, heads included."""
    try:
        raw = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        config = RobertaConfig(**{key: raw[key] for key in SIZES})
        with torch.device("meta"):
            shapes = {ENCODER + name: tuple(t.shape) for name, t in RobertaModel(config).state_dict().items()}
    except Exception as error:  # transformers tells wrong values by a dozen classes
        told = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise UserError(f"AlignScore: {folder / CONFIG} is no RoBERTa's ({told})") from None
    # RoBERTa counts positions from pad_token_id + 1.
    if (longest := config.max_position_embeddings - config.pad_token_id - 1) < MAX_TOKENS:
        raise UserError(f"AlignScore: {folder / CONFIG} allows {longest} tokens, fewer than {MAX_TOKENS}")
    for head, outputs in HEADS.items():
        shapes |= {f"{head}.weight": (outputs, config.hidden_size), f"{head}.bias": (outputs,)}
    return config, shapes


def _check(where: Path, shapes: Shapes, wanted: Shapes) -> None:
    wrong = {
        "missing": wanted.keys() - shapes.keys(),
        "unexpected": shapes.keys() - wanted.keys(),
        "of another shape": {name for name in wanted.keys() & shapes.keys() if wanted[name] != shapes[name]},
    }
    if found := [f"{len(names)} weights are {how}, first {min(names)}" for how, names in wrong.items() if names]:
        raise UserError(f"AlignScore in {where}: {'; '.join(found)}")


def _tokenizer(folder: Path, config: RobertaConfig) -> RobertaTokenizer:
    # The published tokenizer's mask swallows the blank before it.
    mask = AddedToken("<mask>", lstrip=True, special=True)
    try:
        tokenizer = RobertaTokenizer(vocab=str(folder / VOCAB), merges=str(folder / MERGES), mask_token=mask)
    except Exception as error:  # the tokenizers library raises no other class
        told = " ".join(str(error).split())
        raise UserError(f"AlignScore: {VOCAB} or {MERGES} in {folder} is damaged ({told})") from None
    if sorted(tokenizer.get_vocab().values()) != list(range(config.vocab_size)):
        raise UserError(f"AlignScore: {folder / VOCAB} does not number the {config.vocab_size} tokens of {CONFIG}")
    if tokenizer.pad_token_id != config.pad_token_id:
        raise UserError(f"AlignScore: {VOCAB} and {CONFIG} in {folder} differ in the id of <pad>")
    return tokenizer
