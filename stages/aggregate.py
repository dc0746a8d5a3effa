"""aggregate: every model's scores -> metrics/, plots/, reports/ with tables, statistics, plan and page."""

from radcap.runtime.startup import run_stage
from radcap import files, layout, settings
from radcap.data import articles, store
from radcap.plan import build, render, study
from radcap.report import write
from radcap.report.page.collect import page
from radcap.report.tables import comparison, inputs
from radcap.runtime import records, tracking


def main() -> None:
    params = settings.load()
    with records.run_record("aggregate"):
        plan = build.build_plan(params, study=study.read_study())
        files.write_json(layout.REPORTS / "plan.json", plan)
        files.write_text(layout.REPORTS / "plan.md", render.render_plan(plan, detail=params.lora.strategy))
        comparison.publish(params)
        report_inputs = inputs.read(params, plan)
        overall = comparison.overall(report_inputs.metrics)
        test = store.read(layout.split("test"))
        write.write(report_inputs, test, clusters=articles.read(layout.articles(), list(test["id"])))
        page(params, layout.REPORTS / "index.html")
    tracking.log_report(params, overall, [layout.REPORTS, layout.PLOTS])
    print(f"see {layout.REPORTS / 'summary.md'}, or {layout.REPORTS / 'index.html'} in a browser")


if __name__ == "__main__":
    run_stage(main)
