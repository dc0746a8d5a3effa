"""radcap's share of a benchmark in a process of its own."""

from typing import Any

import torch

from radcap import layout, settings
from radcap.adapt.storage import load_fine_tuned
from radcap.caption.generate import ProcessShare, generate_captions
from radcap.caption.search import DecodingOptions
from radcap.caption.variants import labelled_variant
from radcap.data import store


def worker(
    pipe: Any, rank: int, key: str, images: int, decoding: DecodingOptions, batch_size: int, processes: int
) -> None:
    """Open the model, then caption this process's batches whenever told to; send (row, text) pairs."""
    torch.set_num_threads(1)
    rows = store.read(layout.split("train")).select(range(images))
    prompts = labelled_variant(settings.load(), key, "plain", [None] * images).prompts
    loaded = load_fine_tuned(layout.fine_tuned(key), layout.base(key), dtype="float32")
    places = {id_: index for index, id_ in enumerate(rows["id"])}
    options = {
        "variant": "plain",
        "decoding": decoding,
        "batch_size": batch_size,
        "share": ProcessShare(rank, processes),
    }
    pipe.send("ready")
    while pipe.recv() == "go":
        made = generate_captions(lambda: loaded, rows, prompts, **options)
        pipe.send([(places[one.id], one.raw) for one in made])
