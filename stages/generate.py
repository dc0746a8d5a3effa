"""generate@M: fine-tuned M and test split -> captions/M/<variant>.jsonl, one line per image; counts in counts.json."""

import sys
from functools import lru_cache, partial

from radcap.runtime.startup import run_stage
from radcap import files, layout, seeds, settings
from radcap.adapt.storage import load_fine_tuned
from radcap.caption.generate import ProcessShare, generate_captions
from radcap.caption.records import Caption, count_captions, write_captions
from radcap.caption.shards import CaptionShards
from radcap.caption.variants import Variant, decoding_options, fingerprint, variants
from radcap.data import store
from radcap.models import base
from radcap.models.base import LoadedModel
from radcap.runtime import processes, records


def main(key: str) -> None:
    params = settings.load()
    params.model(key)
    profile = params.active
    test = store.read(layout.split("test"))
    all_variants, limits = variants(params, key, test), decoding_options(params, key)
    shards = CaptionShards(layout.unfinished_captions(key) / fingerprint(params, key, test, all_variants))
    share = ProcessShare(processes.rank(), processes.world_size())
    load_model = lru_cache(1)(partial(load, params, key))
    options = {"decoding": limits, "batch_size": profile.generate.batch_size, "shards": shards, "share": share}
    options |= {"workers": profile.loader.workers}

    def decode(variant: Variant) -> list[Caption]:
        return generate_captions(
            partial(load_model, variant.is_tuned), test, variant.prompts, variant=variant.name, **options
        )

    if share.size > 1:
        for variant in all_variants:
            decode(variant)
        return
    with records.run_record("generate", key):
        shards.prune()
        processes.launch(__file__, key, processes=profile.generate.processes)
        captions = {variant.name: decode(variant) for variant in all_variants}
        report = {
            variant.name: count_captions(captions[variant.name]) | modality_counts(variant) for variant in all_variants
        }
        with files.atomic_folder(layout.captions(key)) as out:
            for name, lines in captions.items():
                write_captions(out / f"{name}.jsonl", lines)
            files.write_json(out / "counts.json", {"max_new_tokens": limits.max_new_tokens, "variants": report})
    shards.remove()
    for name, counts in report.items():
        print(f"generate {key}, {name}: {counts['cut']} of {counts['captions']} captions cut, {counts['empty']} empty")


def modality_counts(variant: Variant) -> dict[str, int]:
    return {} if variant.labelled is None else {"modality_said": variant.labelled}


def load(params: settings.Settings, key: str, is_tuned: bool) -> LoadedModel:
    seeds.set_seed(params.seed, "generate", key, threads=params.active.threads)
    dtype = params.active.dtype
    if is_tuned:
        loaded = load_fine_tuned(layout.fine_tuned(key), layout.base(key), dtype=dtype)
    else:
        loaded = base.load(layout.base(key), dtype=dtype)
    loaded.model.to(processes.device())
    return loaded


if __name__ == "__main__":
    run_stage(main, *sys.argv[1:])
