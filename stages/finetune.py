"""finetune@M: base model and train split -> models/M (adapter or weights, log.csv, audit.json)."""

import sys

from radcap.runtime.startup import run_stage
from radcap import files, layout, seeds, settings
from radcap.adapt.audit import audit
from radcap.adapt.lora import add_lora, four_bit_options, rank_and_alpha
from radcap.adapt.parameters import learning_rate_factor
from radcap.adapt.storage import save_fine_tuned
from radcap.adapt.strategies import trained_components
from radcap.caption.prompts import training_prompts
from radcap.data import store
from radcap.models import base
from radcap.runtime import processes, records, tracking
from radcap.runtime.checkpoints import checkpoints_of, locked_checkpoints
from radcap.train.backend import use_deterministic_kernels
from radcap.train.examples import Examples
from radcap.train.fit import fit
from radcap.train.log import as_csv
from radcap.train.recipe import Recipe, optimizer_steps
from radcap.train.unfreezing import freeze_components


def main(key: str) -> None:
    params = settings.load()
    model, profile = params.model(key), params.active
    if processes.launch(__file__, key, processes=params.train.processes, config=params.train.accelerate):
        return
    processes.silence_other_processes()
    is_lora = model.tuning == "lora"
    section, run = (params.adapters, profile.lora) if is_lora else (params.full, profile.full)
    seed = seeds.set_seed(params.seed, "finetune", key, threads=profile.threads)
    if params.train.deterministic:
        use_deterministic_kernels()

    quantization = four_bit_options(profile.dtype) if is_lora and section.quantize == "4bit" else {}
    # Trained weights are float32: updates smaller than bfloat16's spacing would be lost.
    loaded = base.load(layout.base(key), dtype=profile.dtype if is_lora else "float32", **quantization)
    options = {"max_caption_tokens": params.train.max_caption_tokens, "cache": profile.loader.cache}
    train, valid = (
        Examples(loaded, rows, training_prompts(model, params.prompt.instruction, rows["cuis"]), **options)
        for rows in (store.read(layout.split(name)) for name in ("train", "valid"))
    )
    network, targets, components, learning_rate = loaded.model, None, None, run.learning_rate
    if is_lora:
        learning_rate = run.rate(rank_and_alpha(section, model.published)[1])
        network, targets = add_lora(loaded, section, model.published)
        components = trained_components(section.strategy, model.published, vision_tower=section.vision_tower)
    else:
        freeze_components(loaded.family, network, section.never_trained)
    report = audit(loaded.family, network, variant=params.variant(key), targets=targets, components=components)
    recipe = Recipe(
        steps=optimizer_steps(len(train), epochs=run.epochs, batch_size=run.batch_size, accumulation=run.accumulation),
        batch_size=run.batch_size,
        accumulation=run.accumulation,
        learning_rate=learning_rate,
        weight_decay=section.weight_decay,
        warmup=section.warmup,
        schedule=section.schedule,
        max_grad_norm=params.train.max_grad_norm,
        seed=seed,
        workers=profile.loader.workers,
        autocast=profile.dtype == "bfloat16" and (not is_lora or bool(targets.full)),
        recompute_every=run.recompute_every,
        plateau=None if is_lora else section.plateau,
        phases=() if is_lora else section.phases,
        rate_factor=learning_rate_factor(loaded.family, params.train.rates),
        select_by=params.train.select_by,
        select_rows=params.train.select_rows,
        patience=params.train.patience,
        max_new_tokens=params.train.max_caption_tokens,
        resume=params.train.resume,
    )
    label = f"finetune {key}"
    if not processes.is_main_process():
        fit(network, train, valid, recipe, label=label, checkpoints=checkpoints_of(params, key))
        return
    with (
        records.run_record("finetune", key),
        locked_checkpoints(params, key) as checkpoints,
        tracking.run(params, key, replace=True) as tracked,
    ):
        listener = tracked.log_training_row
        result = fit(network, train, valid, recipe, label=label, listener=listener, checkpoints=checkpoints)
        with files.atomic_folder(layout.fine_tuned(key)) as out:
            save_fine_tuned(loaded, network, out, base_folder=layout.base(key), weights=result.weights)
            files.write_text(out / "log.csv", as_csv(result.log))
            lengths = {
                "captions_cut_in_training": train.cut_captions(),
                "caption_tokens_p99": train.caption_tokens(0.99),
            }
            run_details = {"training": result.record(), "packages": records.versions(*records.PACKAGES)}
            files.write_json(out / "audit.json", report | lengths | run_details)
        tracked.set_tags(trained=str(report["trained"]), percent=str(report["percent"]))


if __name__ == "__main__":
    run_stage(main, *sys.argv[1:])
