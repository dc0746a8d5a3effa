"""score@M: captions of M and test split -> scores/M/*.parquet per caption, metrics/M.json."""

import sys

from radcap import files, layout, records, seeds, settings, tracking
from radcap.caption.lines import read
from radcap.data import store
from radcap.errors import UserError, one_line_errors
from radcap.metrics.control import shuffled
from radcap.metrics.evaluator import Evaluator
from radcap.metrics.protocols import PROTOCOLS
from radcap.metrics.results import means, write_per_caption
from radcap.train.log import read_log


def main(key: str) -> None:
    params = settings.load()
    params.model(key)
    seeds.fix(params.seed, "score", key, threads=params.active.threads)
    protocol = PROTOCOLS[params.score.protocol]
    test = store.read(layout.split("test"))
    ids, references, images = (list(test[name]) for name in ("id", "raw_caption", "image"))
    evaluator = Evaluator(layout.SCORERS)

    variants = {}
    for path in sorted(layout.captions(key).glob("*.jsonl")):
        made = read(path)
        if [caption.id for caption in made] != ids:
            raise UserError(f"{path}: ids differ from the test split's; run `dvc repro generate@{key}`")
        variants[path.stem] = [caption.caption for caption in made]
    variants["shuffled"] = shuffled(variants["plain"])

    results = {}
    with records.volatile("score", key), files.whole_folder(layout.scores(key)) as out:
        for variant, candidates in variants.items():
            scores = evaluator.score(candidates, references, protocol, images=images)
            write_per_caption(out / f"{variant}.parquet", {"id": ids, **scores})
            results[variant] = means(scores, protocol)
        identity = {
            "protocol": params.score.protocol,
            "settings": tracking.defining(params, key),
            **evaluator.identity(),
        }
        files.write_json(out / "identity.json", identity)
        tuned = results.pop("plain")
        files.write_json(layout.metrics(key), tuned | results)
    with tracking.run(params, key) as tracked:
        if tracked.is_new:
            for row in read_log(layout.tuned(key) / "log.csv"):
                tracked.curve(row)
        tracked.scores(tuned | results)


if __name__ == "__main__":
    with one_line_errors():
        main(sys.argv[1])
