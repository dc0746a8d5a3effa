"""generate@M: fine-tuned M and test split -> captions/M/<variant>.jsonl, one line per image."""

import sys

from radcap import files, layout, records, seeds, settings
from radcap.adapt.saved import load_tuned
from radcap.caption.generate import captions
from radcap.caption.lines import write
from radcap.data import store
from radcap.errors import one_line_errors
from radcap.models import base
from radcap.models.inputs import fill


def main(key: str) -> None:
    params = settings.load()
    model, profile = params.model(key), params.active
    seeds.fix(params.seed, "generate", key, threads=profile.threads)
    test = store.read(layout.split("test"))
    prompt = fill(model.template, params.prompt.instruction)
    options = params.generate.model_dump() | {"batch_size": profile.generate.batch_size}

    with records.volatile("generate", key), files.whole_folder(layout.captions(key)) as out:
        tuned = load_tuned(layout.tuned(key), layout.base(key), dtype=profile.dtype)
        write(out / "plain.jsonl", captions(tuned, test, prompt, variant="plain", **options))
        if profile.generate.base:
            untuned = base.load(layout.base(key), dtype=profile.dtype)
            write(out / "base.jsonl", captions(untuned, test, prompt, variant="base", **options))


if __name__ == "__main__":
    with one_line_errors():
        main(sys.argv[1])
