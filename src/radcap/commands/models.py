"""Models: export, plan."""

import argparse
import json
from pathlib import Path

from radcap import layout


def export(options: argparse.Namespace) -> None:
    from radcap import settings
    from radcap.export import export

    params = settings.load()
    params.model(options.model)
    out = options.out or Path("export") / options.model
    tuned, base = layout.fine_tuned(options.model), layout.base(options.model)
    export(tuned, base, out, merged=options.merged, dtype=params.active.dtype)
    print(f"{options.model}: {'merged weights' if options.merged else 'adapter'} in {out}")


def plan(options: argparse.Namespace) -> None:
    from radcap import settings
    from radcap.plan import build, render, study

    params = settings.load()
    plan = build.build_plan(params, strategies=options.strategy, keys=options.models, study=study.read_study())
    if options.json:
        print(json.dumps(plan, indent=2))
    else:
        print(render.render_plan(plan, detail=params.lora.strategy), end="")
