"""Figures as they are printed: the study's, with every digit that stands there, and this workspace's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

from radcap.errors import UserError
from radcap.metrics.protocols import METRICS, PROTOCOLS, RELEVANCE

PUBLISHED = Path("reference/published.yaml")
# The order of the figures in a row of the study's Tables 4 and 5.
AGGREGATES = ("relevance", "factuality", "overall")
COLUMNS = (*METRICS, *AGGREGATES)
Row = Mapping[str, "Printed"]


@dataclass(frozen=True)
class Printed:
    """A figure known to half a unit of its last printed digit; `half` is 0 for a count of whole things."""

    value: Fraction
    half: Fraction
    places: int

    @property
    def low(self) -> Fraction:
        return self.value - self.half

    @property
    def high(self) -> Fraction:
        return self.value + self.half

    def __str__(self) -> str:
        return f"{float(self.value):,.{max(self.places, 0)}f}"


@dataclass(frozen=True)
class Share:
    """A percentage beside what it is one of: a modality of all images, trained parameters of a model (`adapters`)."""

    table: str
    name: str
    part: Printed
    whole: Printed
    percent: Printed
    adapters: bool = False


@dataclass(frozen=True)
class Figures:
    """What an audit recomputes. `main`: {model: row}; `prompted`: {model: its row with a prompt of another kind};
    `changes`: {model: percent from main to prompted}; `others`: rows that no ranking compares, by their name.
    `relevance`: the metrics whose mean it is."""

    source: str
    main: Mapping[str, Row]
    prompted: Mapping[str, Row] = field(default_factory=dict)
    changes: Mapping[str, Row] = field(default_factory=dict)
    others: Mapping[str, Row] = field(default_factory=dict)
    shares: tuple[Share, ...] = ()
    relevance: tuple[str, ...] = RELEVANCE


def printed(number: Decimal) -> Printed:
    """A number as written: 40.1e+6 is known to 50,000, 0.870 to 0.0005."""
    exponent = number.as_tuple().exponent
    assert isinstance(exponent, int), f"{number} is no figure"
    return Printed(Fraction(number), Fraction(10) ** exponent / 2, -exponent)


def rounded(value: float, places: int) -> Printed:
    """A number that was rounded to `places` decimals before it was written, trailing zeros lost."""
    return printed(Decimal(repr(value)).quantize(Decimal(1).scaleb(-places)))


def count(number: int) -> Printed:
    return Printed(Fraction(number), Fraction(0), 0)


def read(path: Path = PUBLISHED) -> dict[str, Any]:
    """The study's tables with numbers as Decimals, which keep their digits. UserError where there is no such file."""
    from ruamel.yaml import YAML
    from ruamel.yaml.constructor import SafeConstructor

    class Exact(SafeConstructor):  # type: ignore[misc]
        pass

    for kind in ("float", "int"):
        Exact.add_constructor(f"tag:yaml.org,2002:{kind}", lambda _, node: Decimal(node.value))
    if not path.exists():
        raise UserError(f"{path} not found; run from the project's root")
    reader = YAML(typ="safe", pure=True)
    reader.Constructor = Exact
    tables: dict[str, Any] = reader.load(path.read_text(encoding="utf-8"))
    return tables


def study(path: Path = PUBLISHED) -> Figures:
    """The study's Tables 1 to 5, ready for an audit."""
    tables = read(path)
    main = {model: _row(figures) for model, figures in tables["table4_main"].items()}
    prompted = tables["table5_modality_prompting"]
    return Figures(
        source=str(path),
        main=main,
        prompted={model: _row(rows["modality"]) for model, rows in prompted.items()},
        changes={model: _row(rows["change_percent"]) for model, rows in prompted.items()},
        shares=(*_modalities(tables["table1_modalities"]), *_trained(tables)),
        relevance=PROTOCOLS["as-described"].relevance,
    )


def _row(figures: list[Decimal]) -> dict[str, Printed]:
    return {name: printed(figure) for name, figure in zip(COLUMNS, figures, strict=True)}


def _modalities(table: Mapping[str, Mapping[str, Decimal]]) -> list[Share]:
    whole = count(int(sum(row["count"] for row in table.values())))
    return [
        Share("table 1", name, count(int(row["count"])), whole, printed(row["percent"])) for name, row in table.items()
    ]


def _trained(tables: Mapping[str, Any]) -> list[Share]:
    return [
        Share(
            "table 3",
            model,
            printed(row["trained"]),
            printed(tables["table2_models"][model]["params"]),
            printed(row["percent"]),
            adapters=row["scaling"] is not None,
        )
        for model, row in tables["table3_adapters"].items()
    ]
