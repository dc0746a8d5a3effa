"""finetune@M: base and train split -> models/M (adapter or weights, log.csv, audit.json)."""

import sys

from radcap import files, layout, processes, records, seeds, settings, tracking
from radcap.adapt import rates
from radcap.adapt.audit import audit
from radcap.adapt.lora import add_lora, rank_and_alpha
from radcap.adapt.quantize import four_bit
from radcap.adapt.saved import save_tuned
from radcap.adapt.strategies import components
from radcap.caption.prompts import training_prompts
from radcap.data import store
from radcap.errors import one_line_errors
from radcap.models import base
from radcap.quiet import quiet_libraries
from radcap.train.examples import Examples
from radcap.train.fit import fit
from radcap.train.log import as_csv
from radcap.train.phases import freeze
from radcap.train.recipe import Recipe, steps
from radcap.train.repeat import repeat_on_gpus
from radcap.train.states import claimed, of_run


def main(key: str) -> None:
    params = settings.load()
    model, profile = params.model(key), params.active
    if processes.launch(__file__, key, processes=params.train.processes, config=params.train.accelerate):
        return
    processes.quiet()
    is_lora = model.tuning == "lora"
    section, run = (params.adapters, profile.lora) if is_lora else (params.full, profile.full)
    seed = seeds.fix(params.seed, "finetune", key, threads=profile.threads)
    if params.train.deterministic:
        repeat_on_gpus()

    quantized = four_bit(profile.dtype) if is_lora and section.quantize == "4bit" else {}
    # Weights that train are float32: steps smaller than bfloat16's spacing would be lost.
    loaded = base.load(layout.base(key), dtype=profile.dtype if is_lora else "float32", **quantized)
    options = {"max_caption_tokens": params.train.max_caption_tokens, "cache": profile.loader.cache}
    train, valid = (
        Examples(loaded, rows, training_prompts(model, params.prompt.instruction, rows["cuis"]), **options)
        for rows in (store.read(layout.split(name)) for name in ("train", "valid"))
    )
    trainee, chosen, named, rate = loaded.model, None, None, run.learning_rate
    if is_lora:
        rate = run.rate(rank_and_alpha(section, model.published)[1])
        trainee, chosen = add_lora(loaded, section, model.published)
        named = components(section.strategy, model.published, vision_tower=section.vision_tower)
    else:
        freeze(loaded.family, trainee, section.never_trained)
    report = audit(loaded.family, trainee, variant=params.variant(key), chosen=chosen, named=named)
    recipe = Recipe(
        steps=steps(len(train), epochs=run.epochs, batch_size=run.batch_size, accumulation=run.accumulation),
        batch_size=run.batch_size,
        accumulation=run.accumulation,
        learning_rate=rate,
        weight_decay=section.weight_decay,
        warmup=section.warmup,
        schedule=section.schedule,
        max_grad_norm=params.train.max_grad_norm,
        seed=seed,
        workers=profile.loader.workers,
        autocast=profile.dtype == "bfloat16" and (not is_lora or bool(chosen.full)),
        recompute_every=run.recompute_every,
        plateau=None if is_lora else section.plateau,
        phases=() if is_lora else section.phases,
        factor=rates.factor(loaded.family, params.train.rates),
        select_by=params.train.select_by,
        select_rows=params.train.select_rows,
        patience=params.train.patience,
        max_new_tokens=params.train.max_caption_tokens,
        resume=params.train.resume,
    )
    if not processes.is_first():
        fit(trainee, train, valid, recipe, label=f"finetune {key}", states=of_run(params, key))
        return
    with (
        records.volatile("finetune", key),
        claimed(params, key) as states,
        tracking.run(params, key, fresh=True) as tracked,
    ):
        fitted = fit(trainee, train, valid, recipe, label=f"finetune {key}", listen=tracked.curve, states=states)
        with files.whole_folder(layout.tuned(key)) as out:
            save_tuned(loaded, trainee, out, base_folder=layout.base(key), weights=fitted.weights)
            files.write_text(out / "log.csv", as_csv(fitted.log))
            told = {"captions_cut_in_training": train.cut_captions(), "caption_tokens_p99": train.caption_tokens(0.99)}
            told |= {"training": fitted.record(), "packages": records.versions(*records.PACKAGES)}
            files.write_json(out / "audit.json", report | told)
        tracked.tag(trained=str(report["trained"]), percent=str(report["percent"]))


if __name__ == "__main__":
    quiet_libraries()
    with one_line_errors():
        main(sys.argv[1])
