"""scorers: the checkpoints of the metrics, trained on the train split or found where they are -> models/scorers."""

from radcap.runtime.startup import run_stage
from radcap import files, layout, seeds, settings
from radcap.data import store
from radcap.metrics.scorers import make_scorers
from radcap.runtime import records


def main() -> None:
    params = settings.load()
    profile = params.active
    seeds.set_seed(params.seed, "scorers", threads=profile.threads)
    rows = store.read(layout.split("train"))
    # A published text model knows more words than radiology's.
    general = store.read(layout.split("general"))["caption"]
    with records.run_record("scorers"), files.atomic_folder(layout.SCORERS) as out:
        make_scorers(profile.scorers, out, rows=rows, general=general, seed=params.seed)


if __name__ == "__main__":
    run_stage(main)
