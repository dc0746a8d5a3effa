"""generate@M: fine-tuned M and test split -> captions/M/<variant>.jsonl, one line per image; counts in counts.json."""

import sys
from functools import lru_cache, partial

from radcap.runtime.startup import run_stage
from radcap import files, layout, seeds, settings
from radcap.adapt.storage import load_fine_tuned
from radcap.caption.generate import Share, captions
from radcap.caption.lines import Caption, counts, write
from radcap.caption.parts import Parts
from radcap.caption.variants import Variant, fingerprint, rules, variants
from radcap.data import store
from radcap.models import base
from radcap.models.base import Loaded
from radcap.runtime import processes, records


def main(key: str) -> None:
    params = settings.load()
    params.model(key)
    profile = params.active
    test = store.read(layout.split("test"))
    wanted, limits = variants(params, key, test), rules(params, key)
    parts = Parts(layout.generating(key) / fingerprint(params, key, test, wanted))
    share = Share(processes.rank(), processes.world_size())
    opened = lru_cache(1)(partial(load, params, key))
    options = {"rules": limits, "batch_size": profile.generate.batch_size, "parts": parts, "share": share}
    options |= {"workers": profile.loader.workers}

    def decode(one: Variant) -> list[Caption]:
        return captions(partial(opened, one.is_tuned), test, one.prompts, variant=one.name, **options)

    if share.size > 1:
        for one in wanted:
            decode(one)
        return
    with records.run_record("generate", key):
        parts.prune()
        processes.launch(__file__, key, processes=profile.generate.processes)
        made = {one.name: decode(one) for one in wanted}
        report = {one.name: counts(made[one.name]) | told(one) for one in wanted}
        with files.whole_folder(layout.captions(key)) as out:
            for name, lines in made.items():
                write(out / f"{name}.jsonl", lines)
            files.write_json(out / "counts.json", {"max_new_tokens": limits.max_new_tokens, "variants": report})
    parts.remove()
    for name, found in report.items():
        print(f"generate {key}, {name}: {found['cut']} of {found['captions']} captions cut, {found['empty']} empty")


def told(one: Variant) -> dict[str, int]:
    return {} if one.labelled is None else {"modality_said": one.labelled}


def load(params: settings.Settings, key: str, is_tuned: bool) -> Loaded:
    seeds.set_seed(params.seed, "generate", key, threads=params.active.threads)
    dtype = params.active.dtype
    if is_tuned:
        loaded = load_fine_tuned(layout.tuned(key), layout.base(key), dtype=dtype)
    else:
        loaded = base.load(layout.base(key), dtype=dtype)
    loaded.model.to(processes.device())
    return loaded


if __name__ == "__main__":
    run_stage(main, *sys.argv[1:])
