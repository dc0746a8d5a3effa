"""prepare: a source of captioned images -> data/*.arrow, data/report.json, data/quarantine.csv."""

from radcap import settings
from radcap.data.prepare import prepare
from radcap.errors import one_line_errors
from radcap.runtime import records
from radcap.runtime.quiet import quiet_libraries


def main() -> None:
    params = settings.load()
    with records.run_record("prepare"):
        report = prepare(params.active.data, seed=params.seed)
    for split, figures in report["splits"].items():
        refused = sum(figures["quarantined"].values())
        print(f"{split}: {figures['rows_in']} rows in, {figures['rows_out']} out, {refused} quarantined")


if __name__ == "__main__":
    quiet_libraries()
    with one_line_errors():
        main()
