"""Which method of ours stands behind a name of torchsde's, for which noise, and what it asks of a motion."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torchdyn_sde
from torchdyn_core import OptionError
from torchdyn_sde.compat.torchsde.settings import LEVY_AREA_APPROXIMATIONS, METHOD_OPTIONS, METHODS, NOISE_TYPES
from torchdyn_sde.solver import SDESolver

__all__ = [
    "Method", "backward_solver", "checked_options", "default_adjoint_method", "default_method", "method_named",
]  # fmt: skip

_EVERY = tuple(NOISE_TYPES)
_COMMUTING = ("additive", "diagonal", "scalar")
_ANY = tuple(LEVY_AREA_APPROXIMATIONS)


@dataclass(frozen=True)
class Method:
    """A name's meaning.

    Arguments:
        make: Builds the method from its options and the kind of noise.
        noises: Kinds of noise that it serves.
        areas: What it lets a motion know of areas.

    Example:
        >>> from torchdyn_sde.compat.torchsde.methods import method_named
        >>> method_named("milstein", "ito", "diagonal").make({"grad_free": True}, "diagonal")
        Milstein(derivative=False)
    """

    make: Callable[[Mapping[str, Any], str], SDESolver]
    noises: tuple[str, ...] = _EVERY
    areas: tuple[str, ...] = _ANY

    def check_area(self, name: str, area: str) -> None:
        """Raise if a motion knows less than the method asks for.

        Raises:
            OptionError: If it does.
        """
        if area not in self.areas:
            raise OptionError(
                f"method={name!r} and a motion with levy_area_approximation={area!r}; wanted one of "
                f"{', '.join(map(repr, self.areas))}"
            )


def _plain(solver: str) -> Callable[[Mapping[str, Any], str], SDESolver]:
    return lambda options, noise: getattr(torchdyn_sde, solver)()


def _milstein(solver: str) -> Callable[[Mapping[str, Any], str], SDESolver]:
    return lambda options, noise: getattr(torchdyn_sde, solver)(derivative=not options.get("grad_free", False))


def _log_ode(options: Mapping[str, Any], noise: str) -> SDESolver:
    """The Levy area counts where noises do not commute; where they do, what is left is the midpoint method."""
    made: SDESolver = getattr(torchdyn_sde, "LogODE" if noise == NOISE_TYPES.general else "Midpoint")()
    return made


_METHODS = {
    "ito": {
        "euler": Method(_plain("EulerMaruyama")),
        "milstein": Method(_milstein("Milstein"), _COMMUTING),
        "srk": Method(_plain("SRK"), _COMMUTING, ("space-time", "davie", "foster")),
    },
    "stratonovich": {
        "euler_heun": Method(_plain("EulerHeun")),
        "heun": Method(_plain("Heun")),
        "midpoint": Method(_plain("Midpoint")),
        "milstein": Method(_milstein("MilsteinStratonovich"), _COMMUTING),
        "reversible_heun": Method(_plain("ReversibleHeun")),
        "log_ode": Method(_log_ode, _EVERY, ("davie", "foster")),
    },
}


def method_named(name: str, sde_type: str, noise_type: str) -> Method:
    """What a name means for a kind of equation.

    Raises:
        OptionError: If it is no method's, or its method does not serve the equation.

    Example:
        >>> from torchdyn_sde.compat.torchsde.methods import method_named
        >>> method_named("heun", "stratonovich", "general").areas
        ('davie', 'foster', 'none', 'space-time')
    """
    METHODS.checked("method", name)
    known = _METHODS[sde_type]
    serving = [other for other, method in known.items() if noise_type in method.noises]
    if name not in serving:
        why = "can only be an adjoint_method" if name == METHODS.adjoint_reversible_heun else "does not serve"
        raise OptionError(
            f"method={name!r} {why}; wanted, for sde_type={sde_type!r} and noise_type={noise_type!r}, one of "
            f"{', '.join(map(repr, serving))}"
        )
    return known[name]


def default_method(sde_type: str, noise_type: str) -> str:
    """The method where none is named.

    Example:
        >>> from torchdyn_sde.compat.torchsde.methods import default_method
        >>> default_method("ito", "diagonal"), default_method("ito", "general")
        ('srk', 'euler')
    """
    if sde_type == "stratonovich":
        return "midpoint"
    return "euler" if noise_type == NOISE_TYPES.general else "srk"


def default_adjoint_method(method: str, sde_type: str, noise_type: str) -> str:
    """The method backwards where none is named.

    Example:
        >>> from torchdyn_sde.compat.torchsde.methods import default_adjoint_method
        >>> default_adjoint_method("srk", "ito", "diagonal")
        'milstein'
    """
    if method == METHODS.reversible_heun:
        return METHODS.adjoint_reversible_heun  # type: ignore[no-any-return]
    if sde_type == "stratonovich":
        return "midpoint"
    return "milstein" if noise_type == NOISE_TYPES.diagonal else "euler"


_BACKWARDS = {
    "ito": {"euler": "EulerHeun", "milstein": "Heun"},
    "stratonovich": {
        "euler_heun": "EulerHeun",
        "heun": "Heun",
        "midpoint": "Midpoint",
        "milstein": "Heun",
        "reversible_heun": "Heun",
    },
}
"""Methods that step adjoint equations, which are solved in Stratonovich's sense: those of the order of the named."""


def backward_solver(name: str, sde_type: str, noise_type: str, adaptive: bool) -> SDESolver:
    """The method for the adjoint equation.

    Raises:
        OptionError: If it is no method's name, or its method does not serve the equation or its adjoint.

    Example:
        >>> from torchdyn_sde.compat.torchsde.methods import backward_solver
        >>> [backward_solver("euler", "ito", "general", adaptive) for adaptive in (False, True)]
        [EulerHeun(), Heun()]
    """
    method_named(name, sde_type, noise_type)
    known = _BACKWARDS[sde_type]
    if name not in known:
        raise OptionError(
            f"adjoint_method={name!r} asks for the entries of a diffusion, which adjoint equations do not have; wanted "
            f"one of {', '.join(map(repr, known))}"
        )
    made: SDESolver = getattr(torchdyn_sde, known[name])()
    if adaptive and not made.has_error_estimate:
        made = torchdyn_sde.Heun()
    return made


def checked_options(options: Mapping[str, Any] | None) -> dict[str, Any]:
    """Options of a method.

    Raises:
        OptionError: If there are others than `grad_free` and `compile`.
    """
    found = dict(options or {})
    for name in found:
        METHOD_OPTIONS.checked("an option", name)
    return found
