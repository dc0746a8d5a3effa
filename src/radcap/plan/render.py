"""The plan as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from radcap.plan.build import FULL
from radcap.plan.sizes import COMPONENTS
from radcap.report.markdown import markdown

MILLION, GIB, MB = 1e6, 2**30, 1e6
PARTS = ("weights", "trained", "gradients", "moments", "logits", "activations", "total")


def render_plan(plan: Mapping[str, Any], *, detail: str | None = None) -> str:
    """The whole page. `detail` names the strategy whose memory is told apart (none: the first of the plan)."""
    profile, strategies = plan["profile"], plan["strategies"]
    told = strategies[0] if detail is None or detail not in strategies else detail
    parts = [
        "# Plan\n",
        "Full-size models counted on the meta device; memory is estimated (radcap.plan.memory says how and what is "
        f"left out) for batches of {profile['lora_batch']} (adapters) and {profile['full_batch']} (full fine-tuning), "
        f"{profile['dtype']}, captions of {profile['max_caption_tokens']} tokens.\n",
        "## Parameters, millions\n",
        _sizes(plan),
        "## Trained, millions and percent of the model\n",
        _by_strategy(plan, _trained),
    ]
    if any(row.get("study") for row in plan["models"].values()):
        parts += ["## Beside the study's Tables 2 and 3\n", _study(plan), _notes(plan)]
    parts += [
        "## Adapter on disk, MB\n",
        _by_strategy(plan, lambda variant: f"{variant['disk'] / MB:,.0f}"),
        "## Memory of training, GiB (with activation checkpointing)\n",
        _by_strategy(plan, lambda variant: _memory(variant, "none")),
        "## The same with the base in 4 bits\n",
        _by_strategy(plan, lambda variant: _memory(variant, "4bit")),
        f"## Memory of {told}, GiB\n",
        _detail(plan, told),
    ]
    if plan["without_full_size"]:
        parts.append(f"Without a full-size configuration: {', '.join(plan['without_full_size'])}.\n")
    return "\n".join(parts)


def _sizes(plan: Mapping[str, Any]) -> str:
    rows = []
    for key, row in plan["models"].items():
        study = row.get("study")
        printed = [_millions(study["params"]), _signed(study["params_difference_percent"])] if study else ["", ""]
        counts = [_millions(row["components"][c]) for c in COMPONENTS]
        rows.append([key, *counts, _millions(row["total"]), *printed])
    return markdown(["Model", *COMPONENTS, "total", "printed", "difference %"], rows)


def _by_strategy(plan: Mapping[str, Any], cell: Callable[[Mapping[str, Any]], str]) -> str:
    rows = []
    for key, row in plan["models"].items():
        variants = row["variants"]
        rows.append([key, *(cell(variants.get(name) or variants[FULL]) for name in plan["strategies"])])
    return markdown(["Model", *plan["strategies"]], rows)


def _trained(variant: Mapping[str, Any]) -> str:
    return f"{_millions(variant['trained'])} ({variant['percent']:.2f})"


def _memory(variant: Mapping[str, Any], base: str) -> str:
    found = variant["memory"].get(base)
    if found is None:
        return ""
    short = found["total_checkpointed"]
    return f"{found['total'] / GIB:.1f}" + ("" if short is None else f" ({short / GIB:.1f})")


def _study(plan: Mapping[str, Any]) -> str:
    rows = []
    for key, row in plan["models"].items():
        study, variant = row.get("study"), row["variants"].get("published") or row["variants"].get(FULL)
        if not study or not variant:
            continue
        with_adapters = study.get("percent_with_adapters")
        rows.append(
            [
                key,
                _millions(study["trained"]),
                _millions(variant["trained"]),
                _signed(study["trained_difference_percent"]),
                f"{study['percent']:g}",
                f"{study['percent_of_printed']:.2f}",
                f"{variant['percent']:.2f}",
                "" if with_adapters is None else f"{with_adapters:.2f}",
            ]
        )
    header = ["printed M", "counted M", "difference %", "printed %", "printed / printed", "counted", "as peft prints"]
    return markdown(["Model", *header], rows)


def _notes(plan: Mapping[str, Any]) -> str:
    told = [
        f"- {key}, {what}: {why}\n"
        for key, row in plan["models"].items()
        for what, why in ((row.get("study") or {}).get("why") or {}).items()
    ]
    return "".join(told)


def _detail(plan: Mapping[str, Any], strategy: str) -> str:
    rows = []
    for key, row in plan["models"].items():
        variant = row["variants"].get(strategy) or row["variants"][FULL]
        for base, memory in variant["memory"].items():
            label = key if base == "none" else f"{key}, {base}"
            rows.append([label, *(f"{memory[part] / GIB:.2f}" for part in PARTS)])
    return markdown(["Model", *PARTS], rows)


def _millions(count: float) -> str:
    return f"{count / MILLION:,.1f}"


def _signed(percent: float) -> str:
    return f"{percent:+.1f}"
