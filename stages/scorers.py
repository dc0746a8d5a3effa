"""scorers: the metrics' checkpoints, made from the train split or recorded -> models/scorers."""

from radcap import files, layout, seeds, settings
from radcap.data import store
from radcap.errors import one_line_errors
from radcap.metrics import scorers
from radcap.runtime import records


def main() -> None:
    params = settings.load()
    profile = params.active
    seeds.set_seed(params.seed, "scorers", threads=profile.threads)
    rows = store.read(layout.split("train"))
    # A published text model knows more words than radiology's.
    general = store.read(layout.split("general"))["caption"]
    with records.run_record("scorers"), files.atomic_folder(layout.SCORERS) as out:
        scorers.make(profile.scorers, out, rows=rows, general=general, seed=params.seed)


if __name__ == "__main__":
    with one_line_errors():
        main()
