"""score@M: captions of M and the test split -> scores/M/: scores of each caption under all protocols, and their means.

The audit and the log of M's fine-tuning are copied along, so that reports need scores/M alone.
"""

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from radcap.runtime.startup import run_stage
from radcap import files, layout, seeds, settings
from radcap.caption.records import read_captions
from radcap.data import store
from radcap.errors import UserError
from radcap.metrics.evaluator import Evaluator, shuffle_captions
from radcap.metrics.raw_scores import write_per_caption
from radcap.runtime import records, tracking
from radcap.train.log import read_log


def main(key: str) -> None:
    params = settings.load()
    prompts, profile, protocol = params.model(key).prompts, params.active, params.score.protocol
    seeds.set_seed(params.seed, "score", key, threads=profile.threads)
    test, tuned = store.read(layout.split("test")), layout.fine_tuned(key)
    ids, references = list(test["id"]), list(test["raw_caption"])
    captions = read_variants(layout.captions(key), ids)
    captions["shuffled"] = shuffle_captions(captions["plain"])
    evaluator = Evaluator(layout.SCORERS, cache=layout.score_cache(), processes=profile.concept_processes)

    means, details = {}, {}
    with records.run_record("score", key), files.atomic_folder(layout.scores(key)) as out:
        for variant, candidates in captions.items():
            raw_scores = evaluator.score(candidates, references, test["image"])
            write_per_caption(out / f"{variant}.parquet", raw_scores.columns(ids))
            means[variant], details[variant] = raw_scores.means(protocol), raw_scores.record()
        files.write_json(out / "means.json", details)
        identity = {"protocol": protocol, "settings": tracking.defining_settings(params, key), **evaluator.identity()}
        files.write_json(out / "identity.json", identity)
        plain = means.pop("plain")
        missing = {"missing": evaluator.missing} if evaluator.missing else {}
        files.write_json(out / layout.STAGE_METRICS, plain | means | missing)
        for name in ("audit.json", "log.csv"):
            shutil.copyfile(tuned / name, out / name)

    training_log = read_log(tuned / "log.csv")
    for prompt in prompts:
        with tracking.run(params, key, prompt=prompt) as tracked:
            if tracked.is_new:
                for row in training_log:
                    tracked.log_training_row(row)
            tracked.log_scores(plain | means if prompt == "plain" else means[prompt])


def read_variants(folder: Path, ids: Sequence[str]) -> dict[str, list[str]]:
    """{variant: its captions}. UserError: a file's captions are not those of the ids, in their order."""
    variants = {}
    for path in sorted(folder.glob("*.jsonl")):
        captions = read_captions(path)
        if [caption.id for caption in captions] != ids:
            raise UserError(f"{path}: ids differ from the test split's; run `dvc repro generate@{folder.name}`")
        variants[path.stem] = [caption.caption for caption in captions]
    return variants


if __name__ == "__main__":
    run_stage(main, *sys.argv[1:])
