"""The names that torchsde's users write."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

from torchdyn_core import OptionError
from torchdyn_core.errors import close_matches

__all__ = ["LEVY_AREA_APPROXIMATIONS", "METHODS", "METHOD_OPTIONS", "NOISE_TYPES", "SDE_TYPES", "Names"]


class Names(SimpleNamespace):
    """Names of one kind: attributes, and a container of their values.

    Example:
        >>> from torchdyn_sde.compat.torchsde.settings import SDE_TYPES
        >>> SDE_TYPES.ito, "ito" in SDE_TYPES, SDE_TYPES.all()
        ('ito', True, ['ito', 'stratonovich'])
    """

    def all(self) -> list[str]:
        """The names in the order of the alphabet."""
        return sorted(vars(self).values())

    def checked(self, option: str, name: object) -> str:
        """The name, if it is one of these.

        Raises:
            OptionError: If it is not.
        """
        if not isinstance(name, str) or name not in self:
            raise OptionError(f"{option}={name!r}{close_matches(str(name), self.all())}")
        return name

    def __contains__(self, name: object) -> bool:
        return name in self.all()

    def __iter__(self) -> Iterator[str]:
        return iter(self.all())

    def __str__(self) -> str:
        return str(self.all())


METHODS = Names(
    euler="euler",
    milstein="milstein",
    srk="srk",
    midpoint="midpoint",
    reversible_heun="reversible_heun",
    adjoint_reversible_heun="adjoint_reversible_heun",
    heun="heun",
    log_ode_midpoint="log_ode",
    euler_heun="euler_heun",
)
NOISE_TYPES = Names(general="general", diagonal="diagonal", scalar="scalar", additive="additive")
SDE_TYPES = Names(ito="ito", stratonovich="stratonovich")
LEVY_AREA_APPROXIMATIONS = Names(none="none", space_time="space-time", davie="davie", foster="foster")
METHOD_OPTIONS = Names(grad_free="grad_free", compile="compile")
