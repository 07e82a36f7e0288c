"""Core's own components, by name."""

from __future__ import annotations

from typing import Any

from torchdyn_core.adjoint import Backsolve, Checkpointed, Direct
from torchdyn_core.errors import UnknownComponentError, close_matches
from torchdyn_core.methods import (
    RK4,
    BogackiShampine3,
    DormandPrince5,
    DormandPrince8,
    Euler,
    Heun,
    Midpoint,
    Ralston,
    RK4ThreeEighths,
    Tsitouras5,
)

__all__ = ["COMPONENTS", "component"]

COMPONENTS: dict[str, dict[str, type]] = {
    "solver": {
        "euler": Euler,
        "midpoint": Midpoint,
        "heun": Heun,
        "ralston": Ralston,
        "rk4": RK4,
        "rk4_38": RK4ThreeEighths,
        "bosh3": BogackiShampine3,
        "dopri5": DormandPrince5,
        "tsit5": Tsitouras5,
        "dopri8": DormandPrince8,
    },
    "adjoint": {"checkpointed": Checkpointed, "direct": Direct, "backsolve": Backsolve},
}


def component(kind: str, name: str) -> Any:
    """A component of its kind, with its default options.

    Raises:
        UnknownComponentError: If there is none of this name.
    """
    known = COMPONENTS[kind]
    if name not in known:
        raise UnknownComponentError(f"no {kind} is named {name!r}{close_matches(name, known)}")
    return known[name]()
