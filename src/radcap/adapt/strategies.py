"""Which modules a strategy adapts: a pure function of its rules and the inventory of a model's modules.

Strategies select modules by component and kind, never by the end of their names: `q_proj` also exists in LLaVA's vision
tower, while Qwen2-VL's tower has none.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from radcap.errors import UserError
from radcap.models.family import Module
from radcap.settings import PublishedRow

# The study, section 3: query, key and value of the attention (one fused projection in Qwen's towers), the connector,
# and gate, up and down of the MLP.
_TARGETED = (
    *(f"language.{kind}" for kind in ("query", "key", "value", "gate", "up", "down")),
    *(f"vision.{kind}" for kind in ("query", "key", "value", "qkv", "gate", "up", "down")),
    "connector.*",
)
# Also the output projections of the attention, and the fully connected layers of MLPs without a gate.
_EXTENDED = (*_TARGETED, *(f"{part}.{kind}" for part in ("language", "vision") for kind in ("output", "fc1", "fc2")))

LORA = {"targeted": _TARGETED, "extended": _EXTENDED, "hybrid": _TARGETED}
# Components that are fully trained besides the adapters.
FULL = {"hybrid": ("head", "embeddings")}


@dataclass(frozen=True)
class Targets:
    """The full names of the modules that get a LoRA adapter, and of those that are fully trained."""

    lora: tuple[str, ...]
    full: tuple[str, ...]


def selectors(strategy: str, published: PublishedRow, *, vision_tower: bool) -> tuple[str, ...]:
    """The component.kind patterns of the modules that get adapters.

    `vision_tower` has no effect on the strategy `published`, whose row names all its modules.
    """
    if strategy == "published":
        return published.targets
    return tuple(s for s in LORA[strategy] if vision_tower or not s.startswith("vision."))


def trained_components(strategy: str, published: PublishedRow, *, vision_tower: bool) -> frozenset[str]:
    """The components of a model in which a strategy trains something."""
    adapted = (s.partition(".")[0] for s in selectors(strategy, published, vision_tower=vision_tower))
    return frozenset((*adapted, *FULL.get(strategy, ())))


def resolve_targets(
    strategy: str, inventory: Iterable[Module], *, published: PublishedRow, vision_tower: bool
) -> Targets:
    """The modules of a model that a strategy trains.

    UserError when a selector of the published row, or a component of another strategy, matches no module.
    """
    modules = tuple(inventory)
    patterns = selectors(strategy, published, vision_tower=vision_tower)
    matches = {p: [m for m in modules if fnmatchcase(m.selector, p) and m.kind != "embedding"] for p in patterns}
    # What must match something: each selector of the published row, or each component of another strategy.
    required = patterns if strategy == "published" else sorted({p.partition(".")[0] for p in patterns})
    unmatched = [u for u in required if not any(matches[p] for p in patterns if p == u or p.startswith(f"{u}."))]
    full = [m for m in modules if m.component in FULL.get(strategy, ())]
    unmatched += [c for c in FULL.get(strategy, ()) if all(m.component != c for m in full)]
    if unmatched:
        raise UserError(f"lora.strategy {strategy!r} matches no module of this model for {', '.join(unmatched)}")
    adapted = {m.name for hits in matches.values() for m in hits}
    return Targets(
        lora=tuple(m.name for m in modules if m.name in adapted),
        full=tuple(m.name for m in full),
    )
