"""prepare: a source of captioned images -> data/*.arrow, data/report.json, data/quarantine.csv."""

from radcap.runtime.startup import run_stage
from radcap import settings
from radcap.data.prepare import prepare
from radcap.runtime import records


def main() -> None:
    params = settings.load()
    with records.run_record("prepare"):
        report = prepare(params.active.data, seed=params.seed)
    for split, figures in report["splits"].items():
        refused = sum(figures["quarantined"].values())
        print(f"{split}: {figures['rows_in']} rows in, {figures['rows_out']} out, {refused} quarantined")


if __name__ == "__main__":
    run_stage(main)
