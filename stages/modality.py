"""modality: splits -> models/modality with its metrics, modality/{valid,test}.parquet, plots/modality.csv."""

from radcap.runtime.startup import run_stage
from radcap import files, layout, seeds, settings
from radcap.data import store
from radcap.modality import classifier
from radcap.modality.classes import Labels
from radcap.modality.dataset import PixelDataset
from radcap.modality.fit import Recipe, fit
from radcap.modality.metrics import classification_metrics
from radcap.modality.predict import probabilities
from radcap.modality.predictions import Predictions
from radcap.runtime import records
from radcap.train.log import as_csv


def main() -> None:
    params = settings.load()
    rules, profile = params.modality, params.active
    seed = seeds.set_seed(params.seed, "modality", threads=profile.threads)
    loader, batch_size = profile.loader, profile.modality.batch_size
    splits = {name: store.read(layout.split(name)) for name in layout.SPLITS}
    labels = {name: Labels.of(rows["cuis"], rules) for name, rows in splits.items()}
    missing = labels["train"].missing()

    with records.run_record("modality"), files.atomic_folder(layout.MODALITY) as out:
        if missing:
            print(f"modality: {missing}; nothing is trained, and nothing predicted")
            classifier.record_untrained(out, missing)
        else:
            trained = classifier.initialize(out, rules, weights=profile.weights)
            train, valid = (
                PixelDataset(trained.processor, splits[name]["image"], labels[name].examples, cache=loader.cache)
                for name in ("train", "valid")
            )
            recipe = Recipe(
                rules=rules,
                run=profile.modality,
                counts=labels["train"].counts,
                seed=seed,
                workers=loader.workers,
                autocast=profile.dtype == "bfloat16",
            )
            log = fit(trained, train, valid, recipe)
            trained.save(out)
            files.write_text(out / "log.csv", as_csv(log))

        report = {"missing": missing} if missing else {"train": labels["train"].report()}
        for name in ("valid", "test"):
            images, options = splits[name]["image"], {"batch_size": batch_size, "workers": loader.workers}
            shares = None if missing else probabilities(trained, images, label=f"modality {name}", **options)
            predictions = Predictions(list(splits[name]["id"]), labels[name].classes, shares)
            predictions.write(layout.predicted_modalities(name))
            if not missing:
                report[name] = classification_metrics(
                    predictions.labels, [predicted for predicted, _ in predictions.predicted]
                )
                report[name]["left_out"] = labels[name].left_out
        files.write_json(out / layout.STAGE_METRICS, report)
        files.write_text(layout.confusion_plot(), predictions.confusion())


if __name__ == "__main__":
    run_stage(main)
