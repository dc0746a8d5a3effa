"""The audit finds what the study's tables hold, and nothing in tables that were made by the formulas."""

import dataclasses
import json
from decimal import ROUND_HALF_DOWN, ROUND_HALF_EVEN, ROUND_HALF_UP, Context, Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from radcap import cli, files
from radcap.metrics.protocols import METRICS
from radcap.report.audit import render, workspace_tables
from radcap.report.audit.check import audit
from radcap.report.published import COLUMNS, Figures, Printed, Share, count, printed, rounded, study
from tests.models_for_tests import PARAMS


@pytest.fixture(scope="module")
def found():
    return audit(study())


def shown(findings) -> list[tuple[str, str, str, str, float]]:
    return [(f.table, f.row, f.figure, str(f.printed), round(float(f.formula.value), 6)) for f in findings]


def test_the_three_inconsistent_rows_are_found_and_no_other(found) -> None:
    assert shown(found.findings) == [
        ("table 4", "smolvlm_500m", "relevance", "0.362", 0.3345),
        ("table 5", "smolvlm_500m +modality", "relevance", "0.365", 0.34),
        ("table 5", "smolvlm_500m +modality", "factuality", "0.048", 0.0635),
        ("table 5", "qwen2_5_vl_3b +modality", "relevance", "0.351", 0.33825),
    ]
    without = "the mean without bleurt, as under imageclef-2025"
    assert [f.why for f in found.findings] == [without, without, "", ""]


def test_what_follows_agrees_with_the_printed_parts_and_not_with_components(found) -> None:
    assert shown(found.follow) == [
        ("table 4", "smolvlm_500m", "overall", "0.200", 0.18625),
        ("table 5", "smolvlm_500m +modality", "overall", "0.207", 0.20175),
        ("table 5", "qwen2_5_vl_3b +modality", "overall", "0.200", 0.193375),
        ("table 5", "smolvlm_500m change", "relevance", "0.8", 1.644245),
        ("table 5", "smolvlm_500m change", "factuality", "26.3", 67.105263),
        ("table 5", "smolvlm_500m change", "overall", "3.5", 8.322148),
        ("table 5", "qwen2_5_vl_3b change", "relevance", "9.7", 5.538222),
        ("table 5", "qwen2_5_vl_3b change", "overall", "6.4", 2.722444),
    ]
    assert [round(float(f.parts.value), 4) for f in found.follow[:3]] == [0.2, 0.2065, 0.2]


def test_smolvlm_and_qwen_change_places(found) -> None:
    assert [(flip.table, flip.figure, *flip.rows) for flip in found.flips] == [
        ("table 4", "overall", "smolvlm_500m", "qwen2_5_vl_3b"),
        ("table 5", "factuality", "qwen2_vl_2b", "smolvlm_500m"),
        ("table 5", "factuality", "qwen2_5_vl_3b", "smolvlm_500m"),
    ]
    assert render.flip_line(found.flips[0]) == (
        "table 4, overall: printed smolvlm_500m 0.200 above qwen2_5_vl_3b 0.188; by formula 0.18625 below 0.18825"
    )


def test_a_share_of_base_and_adapters_is_told_not_found(found) -> None:
    assert len(found.remarks) == 1
    assert found.remarks[0].startswith("table 3, moondream2: 3.85 % is trained / (size + trained), as peft prints it")
    # 10 rows and 3 with three means each, 27 changes, 5 modalities, 10 models.
    assert (found.checked, found.unchecked) == (13 * 3 + 27 + 5 + 10, 0)


@pytest.mark.parametrize(
    ("text", "half"),
    [("0.870", "0.0005"), ("1.0", "0.05"), ("100", "0.5"), ("40.1e+6", "5e4"), ("210e+6", "5e5"), ("0.5e+9", "5e7")],
)
def test_a_printed_figure_is_known_to_half_its_last_digit(text: str, half: str) -> None:
    assert printed(Decimal(text)).half == Fraction(half)


def test_a_rounded_float_gets_its_lost_zeros_back() -> None:
    assert rounded(0.5, 4) == printed(Decimal("0.5000"))
    assert count(7).half == 0


# Tables made by the formulas.
UNIT = 1000
TIES = st.sampled_from([ROUND_HALF_UP, ROUND_HALF_DOWN, ROUND_HALF_EVEN])
TRUE = st.fractions(min_value=0, max_value=1, max_denominator=10**6)


def rounding(value: Fraction, places: int, tie: str) -> Printed:
    exact = Decimal(value.numerator) / Decimal(value.denominator)
    return printed(exact.quantize(Decimal(1).scaleb(-places), rounding=tie, context=Context(prec=60)))


def row(
    metrics: list[Fraction], tie: str, *, rounded_means: bool = False
) -> tuple[dict[str, Fraction], dict[str, Printed]]:
    """Exact and printed figures; the overall of rounded means where a table was made so."""
    values = dict(zip(METRICS, metrics, strict=True))
    values["relevance"] = sum(metrics[:4], Fraction(0)) / 4
    values["factuality"] = sum(metrics[4:], Fraction(0)) / 2
    shown = {name: rounding(value, 3, tie) for name, value in values.items()}
    parts = shown["relevance"].value + shown["factuality"].value
    values["overall"] = parts / 2 if rounded_means else (values["relevance"] + values["factuality"]) / 2
    return values, shown | {"overall": rounding(values["overall"], 3, tie)}


@settings(deadline=None)
@given(st.lists(st.lists(TRUE, min_size=6, max_size=6), min_size=2, max_size=4), TIES, st.booleans(), st.booleans())
def test_a_table_made_by_the_formulas_holds_no_finding(rows, tie, rounded_means, rounded_changes) -> None:
    made = {f"model{n}": row(metrics, tie, rounded_means=rounded_means) for n, metrics in enumerate(rows)}
    (base, base_shown), (new, new_shown) = made["model0"], made["model1"]
    changes = {}
    for name in COLUMNS:
        of, to = (base_shown[name].value, new_shown[name].value) if rounded_changes else (base[name], new[name])
        if of > 0:
            changes[name] = rounding(100 * (to - of) / of, 1, tie)
    whole = sum((metrics[0] for metrics in rows), Fraction(1))
    share = Share(
        "table 3",
        "model0",
        rounding(rows[0][0], 3, tie),
        rounding(whole, 2, tie),
        rounding(100 * rows[0][0] / whole, 2, tie),
    )
    figures = Figures(
        source="made",
        main={name: shown for name, (_, shown) in made.items()},
        prompted={"model0": new_shown},
        changes={"model0": changes},
        shares=(share,),
    )
    found = audit(figures)
    assert (found.findings, found.follow, found.flips, found.remarks) == ((), (), (), ())
    assert found.checked + found.unchecked == 3 * len(rows) + 3 + len(changes) + 1


@settings(deadline=None)
@given(
    st.lists(TRUE, min_size=6, max_size=6),
    st.sampled_from(["relevance", "factuality", "overall"]),
    st.integers(3, 400),
    st.booleans(),
)
def test_a_mean_off_by_three_units_is_always_found(metrics, figure, units, up) -> None:
    """Half a unit of its own and half of its components' is what rounding can explain."""
    _, shown = row(metrics, ROUND_HALF_UP)
    moved = shown[figure].value + Fraction(units if up else -units, UNIT)
    assume(0 <= moved <= 1)
    changed = shown | {figure: dataclasses.replace(shown[figure], value=moved)}
    found = audit(Figures(source="made", main={"model": changed}))
    assert [f.figure for f in found.findings if f.figure == figure] == [figure]


def test_rounding_explains_one_unit_and_no_more() -> None:
    """Components of 0.1004999 print as 0.100 and their mean as 0.100; 0.101 takes components of 0.1005 each."""
    zeros = dict.fromkeys(METRICS[4:], printed(Decimal("0.100")))

    def relevance(text: str) -> int:
        row = dict.fromkeys(METRICS[:4], printed(Decimal("0.100"))) | zeros | {"relevance": printed(Decimal(text))}
        return len(audit(Figures(source="made", main={"model": row})).findings)

    assert [relevance(text) for text in ("0.099", "0.100", "0.101", "0.102", "0.098", "0.1011")] == [0, 0, 0, 1, 1, 1]


def test_a_missing_component_is_counted_not_found() -> None:
    figures = {name: printed(Decimal("0.500")) for name in COLUMNS if name != "bleurt"}
    found = audit(Figures(source="made", main={"model": figures}))
    # factuality has its parts; relevance has not, and so overall has not.
    assert (found.checked, found.unchecked, found.findings) == (1, 2, ())


def test_this_workspaces_own_figures_pass_the_same_audit(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    figures = workspace_tables.figures(PARAMS)
    assert figures is not None
    assert figures.main.keys() == PARAMS.models.keys()
    found = audit(figures)
    assert (found.findings, found.follow, found.flips) == ((), (), ())
    assert found.checked >= 3 * len(figures.main) + 3 * len(figures.others)


def test_a_wrong_figure_of_our_own_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
    monkeypatch.chdir(tmp_path)
    result = files.read_json(root / "metrics/smolvlm_500m.json")
    files.write_json(tmp_path / "metrics/smolvlm_500m.json", result | {"factuality": result["factuality"] + 0.001})
    files.write_json(tmp_path / "models/smolvlm_500m/audit.json", {"trained": 1, "total": 3, "percent": 33.3333})
    files.write_json(tmp_path / "models/vision_gpt2/audit.json", {"trained": 1, "total": 3, "percent": 33.4})
    found = audit(workspace_tables.figures(PARAMS))
    assert [(f.row, f.figure) for f in found.findings] == [("smolvlm_500m", "factuality")]
    assert [(f.row, f.figure) for f in found.follow] == []
    files.write_json(tmp_path / "metrics/vision_gpt2.json", result)
    assert [(f.row, f.figure) for f in audit(workspace_tables.figures(PARAMS)).findings][-1] == (
        "vision_gpt2",
        "percent",
    )


def test_the_command_tells_both_audits_and_strict_ends_with_one(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(root)
    with pytest.raises(SystemExit) as ended:
        cli.main(["audit"])
    told = capsys.readouterr().out
    assert ended.value.code == 0
    assert "reference/published.yaml: 81 figures recomputed, 4 off by more than rounding\n" in told
    assert "overall      printed  0.200  by formula  0.18625  (0.18575 to 0.18675), of the printed ones 0.200\n" in told
    with pytest.raises(SystemExit) as ended:
        cli.main(["audit", "--json", "--strict"])
    audits = json.loads(capsys.readouterr().out)
    assert ended.value.code == 1
    assert [(a["source"], len(a["findings"]), len(a["follow"])) for a in audits] == [
        ("reference/published.yaml", 4, 8),
        ("metrics/*.json", 0, 0),
    ]


def test_the_page_holds_every_finding(found) -> None:
    page = render.page([found])
    assert page.count("| table ") == len(found.findings) + len(found.follow)
    assert all(render.flip_line(flip) in page for flip in found.flips)
