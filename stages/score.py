"""score@M: captions of M and test split -> scores/M/: per caption under all protocols, means under the run's own.

What trained and how goes along, so that reports need scores/M alone.
"""

import shutil
import sys

from radcap import files, layout, seeds, settings
from radcap.caption.records import read_captions
from radcap.data import store
from radcap.errors import UserError, one_line_errors
from radcap.metrics.control import shuffled
from radcap.metrics.evaluator import Evaluator
from radcap.metrics.results import write_per_caption
from radcap.runtime import records, tracking
from radcap.train.log import read_log


def main(key: str) -> None:
    params = settings.load()
    params.model(key)
    seeds.set_seed(params.seed, "score", key, threads=params.active.threads)
    test = store.read(layout.split("test"))
    ids, references = list(test["id"]), list(test["raw_caption"])

    variants = {}
    for path in sorted(layout.captions(key).glob("*.jsonl")):
        made = read_captions(path)
        if [caption.id for caption in made] != ids:
            raise UserError(f"{path}: ids differ from the test split's; run `dvc repro generate@{key}`")
        variants[path.stem] = [caption.caption for caption in made]
    variants["shuffled"] = shuffled(variants["plain"])

    evaluator = Evaluator(layout.SCORERS, cache=layout.score_cache(), processes=params.active.concept_processes)
    results, details = {}, {}
    with records.run_record("score", key), files.atomic_folder(layout.scores(key)) as out:
        for variant, candidates in variants.items():
            measured = evaluator.measure(candidates, references, test["image"])
            write_per_caption(out / f"{variant}.parquet", measured.columns(ids))
            results[variant] = measured.means(params.score.protocol)
            details[variant] = measured.record()
        files.write_json(out / "means.json", details)
        for name in ("audit.json", "log.csv"):
            shutil.copyfile(layout.tuned(key) / name, out / name)
        identity = {
            "protocol": params.score.protocol,
            "settings": tracking.defining_settings(params, key),
            **evaluator.identity(),
        }
        files.write_json(out / "identity.json", identity)
        tuned = results.pop("plain")
        without = {"missing": evaluator.missing} if evaluator.missing else {}
        files.write_json(out / layout.MEANS, tuned | results | without)
    for prompt in params.model(key).prompts:
        with tracking.run(params, key, prompt=prompt) as tracked:
            if tracked.is_new:
                for row in read_log(layout.tuned(key) / "log.csv"):
                    tracked.log_training_row(row)
            tracked.log_scores(tuned | results if prompt == "plain" else results[prompt])


if __name__ == "__main__":
    with one_line_errors():
        main(sys.argv[1])
