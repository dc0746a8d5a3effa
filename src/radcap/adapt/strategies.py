"""Which modules a strategy adapts: a pure function of its rule and the family's module inventory.

A strategy names component.kind selectors, never bare suffixes: `q_proj` is in LLaVA's vision tower too,
and Qwen2-VL's tower has none.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from radcap.errors import UserError
from radcap.models.family import Module
from radcap.settings import PublishedRow

# The study, section 3: q, k, v of the attention (one fused projection in Qwen's towers), the connector, and
# gate, up, down of the MLP.
_TARGETED = (
    *(f"language.{kind}" for kind in ("query", "key", "value", "gate", "up", "down")),
    *(f"vision.{kind}" for kind in ("query", "key", "value", "qkv", "gate", "up", "down")),
    "connector.*",
)
# Targeted, the attention's output projections, and the fully connected layers of MLPs without a gate.
_EXTENDED = (*_TARGETED, *(f"{part}.{kind}" for part in ("language", "vision") for kind in ("output", "fc1", "fc2")))

LORA = {"targeted": _TARGETED, "extended": _EXTENDED, "hybrid": _TARGETED}
# Components trained in full besides the adapters.
FULL = {"hybrid": ("head", "embeddings")}


@dataclass(frozen=True)
class Targets:
    """Full names of the modules that get a LoRA adapter, and of those that train in full."""

    lora: tuple[str, ...]
    full: tuple[str, ...]


def selectors(strategy: str, published: PublishedRow, *, vision_tower: bool) -> tuple[str, ...]:
    """The component.kind patterns that get adapters. `vision_tower` does not touch `published`, whose row says it."""
    if strategy == "published":
        return published.targets
    return tuple(s for s in LORA[strategy] if vision_tower or not s.startswith("vision."))


def components(strategy: str, published: PublishedRow, *, vision_tower: bool) -> frozenset[str]:
    """The components of a model of which a strategy trains something."""
    adapted = (s.partition(".")[0] for s in selectors(strategy, published, vision_tower=vision_tower))
    return frozenset((*adapted, *FULL.get(strategy, ())))


def targets(strategy: str, inventory: Iterable[Module], *, published: PublishedRow, vision_tower: bool) -> Targets:
    """Resolve a strategy on a model.

    UserError where a selector of the published row, or a component of another strategy, matches nothing.
    """
    modules = tuple(inventory)
    chosen = selectors(strategy, published, vision_tower=vision_tower)
    adapted = {s: [m for m in modules if fnmatchcase(m.selector, s) and m.kind != "embedding"] for s in chosen}
    units = chosen if strategy == "published" else sorted({s.partition(".")[0] for s in chosen})
    empty = [u for u in units if not any(adapted[s] for s in chosen if s == u or s.startswith(f"{u}."))]
    full = [m for m in modules if m.component in FULL.get(strategy, ())]
    empty += [c for c in FULL.get(strategy, ()) if all(m.component != c for m in full)]
    if empty:
        raise UserError(f"lora.strategy {strategy!r} matches no module of this model for {', '.join(empty)}")
    names = {m.name for hits in adapted.values() for m in hits}
    return Targets(
        lora=tuple(m.name for m in modules if m.name in names),
        full=tuple(m.name for m in full),
    )
