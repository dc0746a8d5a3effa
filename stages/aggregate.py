"""aggregate: every model's scores -> metrics/overall.json, plots/, and reports/ with tables, statistics, the plan."""

from radcap import files, layout, records, settings
from radcap.data import store
from radcap.errors import one_line_errors
from radcap.plan import compare, make, table
from radcap.report import tables, write
from radcap.report.study import inputs


def main() -> None:
    params = settings.load()
    with records.volatile("aggregate"):
        plan = make.make(params, study=compare.read())
        files.write_json(layout.REPORTS / "plan.json", plan)
        files.write_text(layout.REPORTS / "plan.md", table.render(plan, detail=params.lora.strategy))
        given = inputs.read(params, plan)
        files.write_json(layout.METRICS / "overall.json", tables.overall(given.metrics))
        write.write(given, store.read(layout.split("test")))
    print(f"see {layout.REPORTS / 'summary.md'}")


if __name__ == "__main__":
    with one_line_errors():
        main()
