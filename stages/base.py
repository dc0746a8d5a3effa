"""base@M: a pretrained miniature of M, or a record of its published weights -> models/base/M."""

import sys

from radcap.runtime.startup import run_stage
from radcap import files, layout, seeds, settings
from radcap.data import store
from radcap.models import base
from radcap.runtime import records
from radcap.train.pretrain import pretrain


def main(key: str) -> None:
    params = settings.load()
    model, profile = params.model(key), params.active
    seed = seeds.set_seed(params.seed, "base", key, threads=profile.threads)
    with records.run_record("base", key), files.atomic_folder(layout.base(key)) as out:
        if profile.weights == "published":
            base.record_published(
                out,
                family_name=model.family,
                checkpoint=model.checkpoint,
                revision=model.revision,
                image={} if model.image == "none" else model.image,
            )
        else:
            general = store.read(layout.split("general"))
            miniature, log = pretrain(model, profile.pretrain, general, seed=seed, label=f"base {key}")
            base.save_miniature(miniature, out, family_name=model.family)
            files.write_text(out / "log.csv", log)


if __name__ == "__main__":
    run_stage(main, *sys.argv[1:])
