"""`sdeint_adjoint`: gradients from a solve backwards in time."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor

from torchdyn_core import Adjoint, Backsolve, OptionError, Reversible
from torchdyn_sde.compat.torchsde.brownian import BaseBrownian
from torchdyn_sde.compat.torchsde.contract import Prepared, prepared, refuse_gradients, warn_of_unused
from torchdyn_sde.compat.torchsde.methods import backward_solver, checked_options, default_adjoint_method
from torchdyn_sde.compat.torchsde.settings import METHODS
from torchdyn_sde.compat.torchsde.stepping import controller_of, returned, solved

__all__ = ["sdeint_adjoint"]


def sdeint_adjoint(
    sde: Any,
    y0: Tensor,
    ts: Tensor | Sequence[float],
    bm: BaseBrownian | None = None,
    method: str | None = None,
    adjoint_method: str | None = None,
    dt: float | Tensor = 1e-3,
    adaptive: bool = False,
    adjoint_adaptive: bool = False,
    rtol: float | Tensor = 1e-5,
    adjoint_rtol: float | Tensor = 1e-5,
    atol: float | Tensor = 1e-4,
    adjoint_atol: float | Tensor = 1e-4,
    dt_min: float | Tensor = 1e-5,
    options: Mapping[str, Any] | None = None,
    adjoint_options: Mapping[str, Any] | None = None,
    adjoint_params: Iterable[Tensor] | None = None,
    names: Mapping[str, str] | None = None,
    logqp: bool = False,
    extra: bool = False,
    extra_solver_state: Sequence[Tensor] | None = None,
    **unused_kwargs: Any,
) -> Any:
    """Solve a stochastic differential equation; gradients come from a solve backwards, which keeps no steps.

    With "reversible_heun" the steps are undone one by one, and the gradient is that of the steps. Else the continuous
    adjoint equation is solved, and it is off by what the two solves are off; `sdeint` has the gradient of the steps.

    Arguments:
        sde: The equation, as in `sdeint`.
        y0: The state at `ts[0]`.
        ts: Times to report, which strictly increase.
        bm: The Brownian motion, as in `sdeint`.
        method: The method, as in `sdeint`.
        adjoint_method: The method backwards. Default: "adjoint_reversible_heun" for "reversible_heun"; "midpoint" in
            Stratonovich's sense; in Ito's "milstein" for diagonal noise, else "euler". Adjoint equations are solved in
            Stratonovich's sense, where "euler" is the method of Euler and Heun, "milstein" that of Heun.
        dt: The step size, of both solves.
        adaptive: Whether step sizes are chosen from the error.
        adjoint_adaptive: The same, backwards.
        rtol: Relative tolerance.
        adjoint_rtol: The same, backwards.
        atol: Absolute tolerance.
        adjoint_atol: The same, backwards.
        dt_min: The smallest step size, of both solves.
        options: Of the method, as in `sdeint`.
        adjoint_options: Of the method backwards.
        adjoint_params: No effect: gradients reach every parameter that the equation uses.
        names: What the methods of `sde` are called.
        logqp: Whether to return the log-ratio.
        extra: Whether to return the state of the method.
        extra_solver_state: The state of the method to go on from.
        **unused_kwargs: Of no effect, with a warning.

    Shapes:
        y0: `(B, d)`.  ts: `(T,)`.  bm: `(B, m)`.

    Returns:
        What `sdeint` returns.

    Raises:
        OptionError: If a setting is no known one, or they do not go together.
        ShapeError: If the state, the times, or what the equation's functions return has the wrong shape.
        IncompatibleError: If the equation lacks a function.

    References:
        | Li, Wong, Chen, Duvenaud (2020), Scalable gradients for stochastic differential equations. arXiv 2001.01328
        | Kidger, Foster, Li, Lyons (2021), Efficient and accurate gradients for neural SDEs. arXiv 2105.13493

    Example:
        >>> import torch
        >>> from torchdyn_sde.compat import torchsde
        >>> class Decay(torchsde.SDEStratonovich):
        ...     def __init__(self):
        ...         super().__init__("diagonal")
        ...         self.rate = torch.nn.Parameter(torch.tensor(0.5))
        ...     def f(self, t, y):
        ...         return -self.rate * y
        ...     def g(self, t, y):
        ...         return 0.1 * y
        >>> sde = Decay()
        >>> ys = torchsde.sdeint_adjoint(sde, torch.ones(2, 1), [0.0, 1.0], method="reversible_heun", dt=0.1)
        >>> ys[-1].sum().backward()
        >>> bool(sde.rate.grad < 0.0)
        True
    """
    warn_of_unused("sdeint_adjoint", unused_kwargs)
    refuse_gradients(dt=dt, rtol=rtol, atol=atol, dt_min=dt_min, adjoint_rtol=adjoint_rtol, adjoint_atol=adjoint_atol)
    task = prepared(
        sde, y0, ts, dt=dt, bm=bm, method=method, adaptive=adaptive, options=options, names=names, logqp=logqp
    )
    controller = controller_of(adaptive, dt, rtol, atol, dt_min)
    backwards = controller_of(adjoint_adaptive, dt, adjoint_rtol, adjoint_atol, dt_min)
    adjoint = _adjoint(task, adjoint_method, backwards, adjoint_options)
    return returned(task, solved(task, controller, adjoint, extra_solver_state), extra)


def _adjoint(task: Prepared, name: str | None, controller: Any, options: Mapping[str, Any] | None) -> Adjoint:
    """How gradients pass, by the name of the method backwards."""
    sense = task.field.interpretation
    chosen = default_adjoint_method(task.method, sense, task.noise_type) if name is None else name
    settings = checked_options(options)
    if chosen == METHODS.adjoint_reversible_heun:
        if task.method != METHODS.reversible_heun:
            raise OptionError(f"adjoint_method={chosen!r} with method={task.method!r}; wanted method='reversible_heun'")
        return Reversible()
    if task.method == METHODS.reversible_heun:
        warnings.warn(
            f"method='reversible_heun' with adjoint_method={chosen!r}: its steps are not undone, and gradients are not "
            "those of the steps", stacklevel=3,
        )  # fmt: skip
    if settings.get("grad_free"):
        raise OptionError("adjoint_options has grad_free=True; adjoint equations are solved without it: wanted False")
    solver = backward_solver(chosen, sense, task.noise_type, controller.adaptive)
    return Backsolve(solver=solver, controller=controller)
