"""Learning rates of their own for parts of a model."""

from collections.abc import Callable

from radcap.adapt.audit import plain_name
from radcap.models.family import Family
from radcap.settings import Rates


def factor(family: Family, rates: Rates) -> Callable[[str], float]:
    """A function from a parameter's name to what multiplies the run's learning rate for it.

    Connector, head and embeddings have theirs, whether they train in full or by adapters; other adapters have one, and
    vision tower and language model in full have the rate itself.
    """
    named = {"connector": rates.connector, "head": rates.head, "embeddings": rates.embeddings}

    def of(name: str) -> float:
        rest = rates.adapters if ".lora_" in name else 1.0
        return named.get(family.component(plain_name(name)) or "", rest)

    return of
