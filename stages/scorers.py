"""scorers: the metrics' checkpoints, made from the train split or recorded -> models/scorers."""

from radcap import files, layout, records, seeds, settings
from radcap.data import store
from radcap.errors import one_line_errors
from radcap.metrics import scorers


def main() -> None:
    params = settings.load()
    profile = params.active
    seed = seeds.fix(params.seed, "scorers", threads=profile.threads)
    # General captions too: a published text model knows more words than radiology's.
    captions = [text for name in ("train", "general") for text in store.read(layout.split(name))["caption"]]
    with records.volatile("scorers"), files.whole_folder(layout.SCORERS) as out:
        scorers.make(profile.scorers, out, captions=captions, seed=seed)


if __name__ == "__main__":
    with one_line_errors():
        main()
