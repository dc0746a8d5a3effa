"""aggregate: every model's metrics -> metrics/overall.json, reports/summary.md; the plan -> reports/plan.{md,json}."""

from radcap import files, layout, records, settings
from radcap.errors import one_line_errors
from radcap.plan import compare, make, table
from radcap.report import tables


def main() -> None:
    params = settings.load()
    with records.volatile("aggregate"):
        results = tables.collect(params)
        files.write_json(layout.METRICS / "overall.json", tables.overall(results))
        summary = tables.summary(params, results)
        files.write_text(layout.REPORTS / "summary.md", summary)
        plan = make.make(params, study=compare.read())
        files.write_json(layout.REPORTS / "plan.json", plan)
        files.write_text(layout.REPORTS / "plan.md", table.render(plan, detail=params.lora.strategy))
    print(tables.comparison(params, results))


if __name__ == "__main__":
    with one_line_errors():
        main()
