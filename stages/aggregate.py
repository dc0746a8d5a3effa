"""aggregate: every model's metrics -> metrics/overall.json, reports/summary.md."""

from radcap import files, layout, records, settings
from radcap.errors import one_line_errors
from radcap.report import tables


def main() -> None:
    params = settings.load()
    with records.volatile("aggregate"):
        results = tables.collect(params)
        files.write_json(layout.METRICS / "overall.json", tables.overall(results))
        summary = tables.summary(params, results)
        files.write_text(layout.REPORTS / "summary.md", summary)
    print(tables.comparison(params, results))


if __name__ == "__main__":
    with one_line_errors():
        main()
