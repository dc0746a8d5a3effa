"""A fine-tuned model's captions of any pictures."""

from __future__ import annotations

import hashlib
import json
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from radcap import files, layout
from radcap.data import image_files
from radcap.data.images import BadImage
from radcap.errors import UserError
from radcap.models.base import RECORD
from radcap.runtime.progress import track
from radcap.settings import MODELS, PromptName, Settings, StrategyName

if TYPE_CHECKING:
    from datasets import Dataset

    from radcap.caption.records import Caption
    from radcap.data.store import Row
    from radcap.models.base import LoadedModel


RESEARCH_ONLY = "for research only: these captions are no diagnosis and must not guide anyone's care"


@dataclass
class CaptionedImages:
    """Captions in the pictures' order, the modality that each one's prompt says (None: none), at how many tokens they
    are cut, and (path, words) of pictures that could not be used or need a remark."""

    captions: list[Caption] = field(default_factory=list)
    modalities: list[str | None] = field(default_factory=list)
    limit: int = 0
    refused: list[tuple[str, str]] = field(default_factory=list)
    remarks: list[tuple[str, str]] = field(default_factory=list)

    def notes(self) -> Iterator[str]:
        """What a reader of the captions must know, a line each."""
        yield from (f"{path}: {remark}" for path, remark in self.remarks)
        yield from (f"{path}: left out, {reason}" for path, reason in self.refused)
        if self.refused:
            yield f"{len(self.refused)} of {len(self.refused) + len(self.captions)} pictures left out"
        cut = sum(caption.finish == "length" for caption in self.captions)
        if cut:
            yield f"{cut} of {len(self.captions)} captions cut at {self.limit} tokens"
        if self.captions:
            yield RESEARCH_ONLY

    def text(self) -> str:
        """A line `path: caption` each."""
        return "".join(f"{caption.id}: {caption.caption}\n" for caption in self.captions)

    def json_lines(self, model: str, strategy: str) -> str:
        """A JSON object a line: path, model, strategy, prompt, the modality that it says, and the caption's fields."""
        lines = []
        for caption, modality in zip(self.captions, self.modalities, strict=True):
            fields = asdict(caption)
            record = {"path": fields.pop("id"), "model": model, "strategy": strategy, "prompt": fields.pop("variant")}
            lines.append(json.dumps(record | {"modality": modality} | fields, ensure_ascii=False) + "\n")
        return "".join(lines)


def trained_variant(params: Settings, key: str, *, strategy: str | None = None) -> str:
    """How the model that lies in models/KEY was trained. UserError: there is none, or it is another than asked for."""
    params.model(key)
    audit = layout.fine_tuned(key) / "audit.json"
    if not audit.exists() or not (layout.base(key) / RECORD).exists():
        missing = layout.base(key) / RECORD if audit.exists() else audit
        raise UserError(f"{missing} not found; `dvc repro finetune@{key}` makes the fine-tuned model")
    variant = str(files.read_json(audit)["variant"])
    if strategy in (None, variant):
        return variant
    if strategy not in get_args(StrategyName):
        raise UserError(f"unknown strategy {strategy!r}; allowed: {', '.join(get_args(StrategyName))}")
    if params.model(key).tuning == "full":
        raise UserError(f"{key} trains in full, without adapters; leave out the strategy {strategy!r}")
    raise UserError(
        f"{layout.fine_tuned(key)} is trained with strategy {variant!r}, not {strategy!r}; "
        f"`dvc exp run -S lora.strategy={strategy} finetune@{key}` trains that one in its place"
    )


def caption_images(
    params: Settings, key: str, paths: Sequence[str], *, prompt: PromptName = "plain", batch_size: int | None = None
) -> CaptionedImages:
    """Caption the pictures as stage generate does, with ids that are their paths.

    They are written to a temporary split first: memory does not grow with their number.
    UserError where the only picture cannot be used (of several the others are captioned), or the model takes no such
    prompt.
    """
    from radcap.data import store

    if prompt == "modality" and params.model(key).modality_instruction == "none":
        raise UserError(f"{key} takes no prompt modality: its modality_instruction is none in {MODELS}/{key}.yaml")
    result = CaptionedImages()
    with tempfile.TemporaryDirectory(prefix="radcap") as folder:
        split = Path(folder) / "pictures.arrow"
        usable = store.write(split, _rows(paths, result))
        if len(paths) == 1 and result.refused:
            raise UserError(": ".join(result.refused[0]))
        if usable:
            _generate(params, key, store.read(split), result, prompt=prompt, batch_size=batch_size)
    return result


def _rows(paths: Sequence[str], result: CaptionedImages) -> Iterator[Row]:
    from radcap.data.store import Row

    for path in track(paths, total=len(paths), label="read"):
        # Names of files need not be Unicode; what is written must be.
        id_ = path.encode("utf-8", "backslashreplace").decode("utf-8")
        try:
            read = image_files.read_image(path)
        except BadImage as error:
            result.refused.append((id_, str(error)))
            continue
        result.remarks += [(id_, remark) for remark in read.remarks]
        digest = hashlib.sha256(read.image).hexdigest()
        size = {"width": read.width, "height": read.height}
        yield Row(id=id_, image=read.image, caption="", raw_caption="", cuis=(), sha256=digest, **size)


def _generate(
    params: Settings, key: str, rows: Dataset, result: CaptionedImages, *, prompt: PromptName, batch_size: int | None
) -> None:
    from transformers.utils import logging

    from radcap import seeds
    from radcap.adapt.storage import load_fine_tuned
    from radcap.caption.generate import generate_captions
    from radcap.caption.variants import decoding_options, labelled_variant
    from radcap.runtime import processes

    # A bar for every file of weights
    logging.disable_progress_bar()
    profile = params.active
    seeds.set_seed(params.seed, "generate", key, threads=profile.threads)
    result.modalities = _modalities(params, rows) if prompt == "modality" else [None] * len(rows)
    variant, limits = labelled_variant(params, key, prompt, result.modalities), decoding_options(params, key)

    def opened() -> LoadedModel:
        with warnings.catch_warnings():
            # peft asks transformers for what that has renamed.
            warnings.simplefilter("ignore", FutureWarning)
            tuned = load_fine_tuned(layout.fine_tuned(key), layout.base(key), dtype=profile.dtype)
        tuned.model.to(processes.device())
        return tuned

    size = batch_size or profile.generate.batch_size
    result.captions = generate_captions(opened, rows, variant.prompts, variant=prompt, decoding=limits, batch_size=size)
    result.limit = limits.max_new_tokens


def _modalities(params: Settings, rows: Dataset) -> list[str | None]:
    """Each picture's modality as the classifier sees it, where it is sure enough."""
    from radcap.caption.prompts import predicted_labels
    from radcap.modality.predict import classify, open_classifier

    guesses = classify(open_classifier(), rows["image"], batch_size=params.active.modality.batch_size)
    ids = [str(number) for number in range(len(rows))]
    return predicted_labels(ids, dict(zip(ids, guesses, strict=True)), threshold=params.prompt.modality.threshold)
