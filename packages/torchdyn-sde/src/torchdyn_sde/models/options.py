"""What models leave to the solve, and what of it is their own to set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torchdyn_core import Fixed, OptionError
from torchdyn_sde.field import SDEField
from torchdyn_sde.methods.euler_maruyama import EulerMaruyama
from torchdyn_sde.methods.midpoint import Midpoint

__all__ = ["refuse_own", "with_defaults"]

STEPS = 50
"""Steps of a solve, where nobody says how many."""


def with_defaults(field: SDEField, options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a solve, with a method of the field's sense and 50 equal steps where nobody chose.

    Arguments:
        field: What is solved.
        options: What the user chose.

    Example:
        >>> from torchdyn_sde import SDEField
        >>> from torchdyn_sde.models.options import with_defaults
        >>> field = SDEField(lambda t, y: -y, lambda t, y: y, interpretation="stratonovich")
        >>> with_defaults(field, {})["solver"]
        Midpoint()
    """
    solver = EulerMaruyama() if field.interpretation == "ito" else Midpoint()
    return {"solver": solver, "controller": Fixed(steps=STEPS), **options}


def refuse_own(model: str, options: Mapping[str, Any], own: Mapping[str, str]) -> None:
    """Refuse options that a model sets itself.

    Arguments:
        model: Its name.
        options: What the user wants.
        own: Names of options, and why they are the model's.

    Raises:
        OptionError: If there is one.

    Example:
        >>> from torchdyn_sde.models.options import refuse_own
        >>> refuse_own("Model", {"save": None}, {"save": "it reports what it decodes"})
        Traceback (most recent call last):
        torchdyn_core.errors.OptionError: Model takes no option 'save': it reports what it decodes
    """
    for name in own.keys() & options.keys():
        raise OptionError(f"{model} takes no option {name!r}: {own[name]}")
