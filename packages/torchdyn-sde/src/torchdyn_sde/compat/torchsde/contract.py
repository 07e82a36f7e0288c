"""What `sdeint` and `sdeint_adjoint` ask of their arguments, and what they make of them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from torchdyn_core import IncompatibleError, OptionError, ShapeError
from torchdyn_core.tree import Tree
from torchdyn_sde.brownian import BrownianPath
from torchdyn_sde.compat.torchsde.brownian import BaseBrownian
from torchdyn_sde.compat.torchsde.methods import checked_options, default_method, method_named
from torchdyn_sde.compat.torchsde.motion import driving_path
from torchdyn_sde.compat.torchsde.products import with_products
from torchdyn_sde.compat.torchsde.sde import Coefficients, Equation
from torchdyn_sde.compat.torchsde.settings import NOISE_TYPES, SDE_TYPES
from torchdyn_sde.declared import check_additive, check_commutes
from torchdyn_sde.solver import SDESolver

__all__ = ["Prepared", "prepared", "refuse_gradients", "warn_of_unused"]


@dataclass(frozen=True)
class Prepared:
    """A solve that is ready to begin.

    Arguments:
        field: The equation, driven by its motion where one was given.
        y0: The state, with a component for the log-ratio where that is wanted.
        ts: Times to report.
        method: Its name.
        solver: The method.
        noise_type: The kind of noise.
        compile: Whether to compile the solve.
        logqp: Whether the state's last component is the log-ratio.

    Example:
        >>> import torch
        >>> from torchdyn_sde.compat.torchsde.contract import prepared
        >>> from torchdyn_sde.compat.torchsde.sde import SDEIto
        >>> class Still(SDEIto):
        ...     def f(self, t, y):
        ...         return 0.0 * y
        ...     def g(self, t, y):
        ...         return 0.0 * y
        >>> made = prepared(Still("diagonal"), torch.ones(1, 2), [0.0, 1.0], dt=0.1)
        >>> made.method, made.solver
        ('srk', SRK())
    """

    field: Equation
    y0: Tensor
    ts: Tensor
    method: str
    solver: SDESolver
    noise_type: str
    compile: bool | str
    logqp: bool


def prepared(
    sde: Any,
    y0: Tensor,
    ts: Tensor | Sequence[float],
    *,
    dt: float | Tensor,
    bm: BaseBrownian | None = None,
    method: str | None = None,
    adaptive: bool = False,
    options: Mapping[str, Any] | None = None,
    names: Mapping[str, str] | None = None,
    logqp: bool = False,
    products: bool = False,
) -> Prepared:
    """Check the arguments of a solve, which are those of `sdeint`, and put them together.

    With `products`, a diffusion that is known by its products alone may stay unknown otherwise.

    Raises:
        OptionError: If the equation's type, a method, an option or a name is no known one, or they do not go together.
        ShapeError: If the state, the times, or what the equation's functions return has the wrong shape.
        IncompatibleError: If the equation lacks a function.
    """
    for name, kinds in (("noise_type", NOISE_TYPES), ("sde_type", SDE_TYPES)):
        if not hasattr(sde, name):
            raise OptionError(f"the equation, a {type(sde).__name__}, has no {name}; wanted one of {kinds}")
        kinds.checked(name, getattr(sde, name))
    if not isinstance(y0, Tensor) or y0.dim() != 2:
        got = tuple(y0.shape) if isinstance(y0, Tensor) else type(y0).__name__
        raise ShapeError(f"y0 is {got}; wanted a tensor (batch, d)")
    times = _times(ts, y0)
    parts = Coefficients(sde, names)
    if logqp and not parts.has("prior_drift"):
        raise _NoPrior(f"logqp=True, and the equation has no prior drift {parts.names['prior_drift']!r}(t, y)")
    parts.columns = _checked_shapes(parts, times[0], y0, bm)
    name = default_method(sde.sde_type, sde.noise_type) if method is None else method
    if adaptive and name == "euler" and sde.noise_type != NOISE_TYPES.additive:
        warnings.warn(
            "method='euler' with adaptive=True: with noise that is not additive, steps chosen by their errors may "
            "converge to another solution", stacklevel=4,
        )  # fmt: skip
    known, chosen = method_named(name, sde.sde_type, sde.noise_type), checked_options(options)
    solver = known.make(chosen, sde.noise_type)
    field = Equation(parts, sde.sde_type, logqp)
    if products and not logqp:
        field = with_products(field, parts, solver)
    if logqp:
        y0 = torch.cat((y0, y0.new_zeros(y0.shape[0], 1)), dim=1)
    if bm is not None:
        known.check_area(name, bm.levy_area_approximation)
        path = _path(field, bm, times, y0, None if adaptive else float(dt), logqp)
        if chosen.get("compile"):
            _check_compiles(path, None if adaptive else float(dt))
        made: Any = field.driven_by(path)
        field = made
    _warn_of_declared(field, solver, times[0], y0)
    return Prepared(field, y0, times, name, solver, sde.noise_type, chosen.get("compile", False), logqp)


def refuse_gradients(**constants: Any) -> None:
    """Raise for settings that require a gradient: none reaches them.

    Raises:
        OptionError: If one does.
    """
    for name, value in constants.items():
        if isinstance(value, Tensor) and value.requires_grad:
            raise OptionError(f"{name} requires a gradient, and there is none; wanted {name}.detach()")


def warn_of_unused(function: str, unused: Mapping[str, Any]) -> None:
    """Say which arguments nobody takes."""
    if unused:
        warnings.warn(f"{function}() takes no {', '.join(map(repr, unused))}: of no effect", stacklevel=3)


def _path(field: Equation, bm: Any, ts: Tensor, y0: Tensor, dt: float | None, logqp: bool) -> BrownianPath:
    """A motion as the path of a solve; where the log-ratio has no noise in a motion of its own, it is given none."""
    still = 1 if logqp and field.noise.elementwise and bm.shape[-1] == y0.shape[1] - 1 else 0
    return driving_path(bm, float(ts[0]), float(ts[-1]), dt, still)


def _check_compiles(path: BrownianPath, dt: float | None) -> None:
    """Raise where a compiled solve would step over cells of a path, which it cannot count."""
    if dt is not None and isinstance(path.grid, float) and dt > 1.001 * path.grid:
        raise OptionError(
            f"options={{'compile': ...}} with dt={dt:g} and a motion for steps of {path.grid:g}; wanted steps "
            "no longer than those, or a BrownianInterval(dt=...) for them"
        )


class _NoPrior(IncompatibleError, AttributeError):
    """What torchsde raises as an `AttributeError`."""


class _LacksFunction(IncompatibleError, ValueError):
    """What torchsde raises as a `ValueError`."""


def _times(ts: Any, y0: Tensor) -> Tensor:
    if not isinstance(ts, Tensor):
        if not isinstance(ts, (tuple, list)) or not all(isinstance(t, (int, float)) for t in ts):
            raise ShapeError(f"ts is {type(ts).__name__}; wanted a tensor (T,), or a list or tuple of numbers")
        ts = torch.tensor(ts, dtype=torch.float64, device=y0.device)
    refuse_gradients(ts=ts)
    if ts.dim() != 1 or len(ts) < 2 or not bool((ts.diff() > 0).all()):
        raise ShapeError("ts is no sequence of at least two times that strictly increase; wanted one, (T,)")
    made: Tensor = ts
    return made


def _checked_shapes(parts: Coefficients, t: Tensor, y0: Tensor, bm: Any) -> int:
    """How many noises there are, if all functions of the equation agree on it and on the state.

    Raises:
        ShapeError: If they do not.
        IncompatibleError: If there is no drift or no diffusion.
    """
    t = t.to(y0.dtype)
    noises = [] if bm is None else [("bm", _matrix("bm", tuple(bm.shape), y0, 2)[1])]
    if parts.has("drift"):
        _same(parts.names["drift"], parts.call("drift", t, y0), y0)
    if parts.has("diffusion"):
        noises.append(_noises(parts, "diffusion", parts.call("diffusion", t, y0), y0))
    if parts.has("drift_and_diffusion"):
        f, g = parts.call("drift_and_diffusion", t, y0)
        _same(parts.names["drift_and_diffusion"], f, y0)
        noises.append(_noises(parts, "drift_and_diffusion", g, y0))
    products = [role for role in ("diffusion_prod", "drift_and_diffusion_prod") if parts.has(role)]
    for role in products:
        if not noises:
            raise _LacksFunction(
                f"{parts.names[role]!r} does not tell how many noises there are; wanted bm=..., or a method "
                f"{parts.names['diffusion']!r} or {parts.names['drift_and_diffusion']!r}"
            )
        out = parts.call(role, t, y0, y0.new_zeros(y0.shape[0], noises[0][1]))
        for part in out if role == "drift_and_diffusion_prod" else (out,):
            _same(parts.names[role], part, y0)
    drifts = "drift", "drift_and_diffusion", "drift_and_diffusion_prod"
    diffusions = "diffusion", "drift_and_diffusion", *("diffusion_prod", "drift_and_diffusion_prod")
    for what, roles in (("drift", drifts), ("diffusion", diffusions)):
        if not any(parts.has(role) for role in roles):
            wanted = ", ".join(repr(parts.names[role]) for role in roles)
            raise _LacksFunction(f"the equation has no {what}; wanted one of the methods {wanted}")
    still = {noises[0][1], noises[0][1] - 1} if parts.noise_type == NOISE_TYPES.diagonal else {noises[0][1]}
    if any(count not in still for _, count in noises):
        told = ", ".join(f"{count} by {name!r}" for name, count in noises)
        raise ShapeError(f"numbers of noises differ: {told}; wanted the same")
    count = noises[-1][1]
    if parts.noise_type == NOISE_TYPES.scalar and count != 1:
        raise ShapeError(f"noise_type='scalar', and there are {count} noises; wanted one: a diffusion (batch, d, 1)")
    return count


def _noises(parts: Coefficients, role: str, g: Any, y0: Tensor) -> tuple[str, int]:
    name = parts.names[role]
    if parts.noise_type == NOISE_TYPES.diagonal:
        _same(name, g, y0)
        return name, y0.shape[1]
    shape = _matrix(name, tuple(g.shape), y0, 3)
    if shape[1] != y0.shape[1]:
        raise ShapeError(f"{name!r} returned {shape} for a state {tuple(y0.shape)}; wanted (batch, d, m)")
    return name, shape[2]


def _same(name: str, out: Tensor, y0: Tensor) -> None:
    if out.shape != y0.shape:
        raise ShapeError(
            f"{name!r} returned {tuple(out.shape)} for a state {tuple(y0.shape)}; wanted the state's shape"
        )


def _matrix(name: str, shape: tuple[int, ...], y0: Tensor, axes: int) -> tuple[int, ...]:
    if len(shape) != axes or shape[0] != y0.shape[0]:
        wanted = "(batch, d, m)" if axes == 3 else "(batch, m)"
        raise ShapeError(f"{name!r} has shape {shape} for a state {tuple(y0.shape)}; wanted {wanted}")
    return shape


def _warn_of_declared(field: Equation, solver: SDESolver, t: Tensor, y0: Tensor) -> None:
    """Say so where the diffusion is not what its noise type says: torchsde's users are not refused for it."""
    if not (field.noise.constant or solver.commuting) or not bool(y0.isfinite().all()):
        return
    time = t.to(y0.dtype)

    def diffusion(y: Tree) -> Tree:
        return field.diffusion(time, y)

    try:
        with torch.no_grad():
            if field.noise.constant:
                check_additive(diffusion, y0)
            else:
                check_commutes(field.noise, diffusion, y0, type(solver).__name__)
    except IncompatibleError as error:
        warnings.warn(f"{error}. The solve goes on with less than the method's order", stacklevel=5)
