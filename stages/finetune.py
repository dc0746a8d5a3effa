"""finetune@M: base and train split -> models/M (adapter or weights, log.csv, audit.json)."""

import sys

from radcap import files, layout, records, seeds, settings, tracking
from radcap.adapt.audit import audit
from radcap.adapt.lora import add_lora
from radcap.adapt.saved import save_tuned
from radcap.data import store
from radcap.errors import one_line_errors
from radcap.models import base
from radcap.models.inputs import fill
from radcap.train.examples import Examples
from radcap.train.fit import Recipe, fit, steps
from radcap.train.log import as_csv


def main(key: str) -> None:
    params = settings.load()
    model, profile = params.model(key), params.active
    section, run = getattr(params, model.tuning), getattr(profile, model.tuning)
    seed = seeds.fix(params.seed, "finetune", key, threads=profile.threads)

    loaded = base.load(layout.base(key), dtype=profile.dtype)
    options = {"max_caption_tokens": params.train.max_caption_tokens, "cache": profile.loader.cache}
    prompt = fill(model.template, params.prompt.instruction)
    train, valid = (Examples(loaded, store.read(layout.split(name)), prompt, **options) for name in ("train", "valid"))
    trainee, chosen = (loaded.model, None) if model.tuning == "full" else add_lora(loaded, section, model.published)
    recipe = Recipe(
        steps=steps(len(train), epochs=run.epochs, batch_size=run.batch_size, accumulation=run.accumulation),
        batch_size=run.batch_size,
        accumulation=run.accumulation,
        learning_rate=run.learning_rate,
        weight_decay=section.weight_decay,
        warmup=section.warmup,
        schedule=section.schedule,
        max_grad_norm=params.train.max_grad_norm,
        seed=seed,
        workers=profile.loader.workers,
    )
    with (
        records.volatile("finetune", key),
        tracking.run(params, key, fresh=True) as tracked,
        files.whole_folder(layout.tuned(key)) as out,
    ):
        log = fit(trainee, train, valid, recipe, label=f"finetune {key}", listen=tracked.curve)
        save_tuned(loaded, trainee, out, base_folder=layout.base(key))
        files.write_text(out / "log.csv", as_csv(log))
        report = audit(loaded.family, trainee, variant=params.variant(key), chosen=chosen)
        cut = {"captions_cut_in_training": train.cut_captions()}
        files.write_json(out / "audit.json", report | cut | {"packages": records.versions(*records.PACKAGES)})
        tracked.tag(trained=str(report["trained"]), percent=str(report["percent"]))


if __name__ == "__main__":
    with one_line_errors():
        main(sys.argv[1])
