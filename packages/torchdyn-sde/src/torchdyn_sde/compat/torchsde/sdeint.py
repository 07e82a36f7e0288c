"""`sdeint`: gradients pass through the steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from torchdyn_core import Checkpointed, Direct
from torchdyn_sde.compat.torchsde.brownian import BaseBrownian
from torchdyn_sde.compat.torchsde.contract import prepared, refuse_gradients, warn_of_unused
from torchdyn_sde.compat.torchsde.stepping import controller_of, returned, solved

__all__ = ["sdeint"]


def sdeint(
    sde: Any,
    y0: Tensor,
    ts: Tensor | Sequence[float],
    bm: BaseBrownian | None = None,
    method: str | None = None,
    dt: float | Tensor = 1e-3,
    adaptive: bool = False,
    rtol: float | Tensor = 1e-5,
    atol: float | Tensor = 1e-4,
    dt_min: float | Tensor = 1e-5,
    options: Mapping[str, Any] | None = None,
    names: Mapping[str, str] | None = None,
    logqp: bool = False,
    extra: bool = False,
    extra_solver_state: Sequence[Tensor] | None = None,
    **unused_kwargs: Any,
) -> Any:
    """Solve a stochastic differential equation; gradients pass through the steps, all of which stay in memory.

    Arguments:
        sde: An object with `noise_type`, `sde_type` and the methods `f(t, y)` and `g(t, y)`; or, in place of one or
            both, `f_and_g(t, y)`, `g_prod(t, y, v)`, `f_and_g_prod(t, y, v)`; and `h(t, y)`, the prior drift.
        y0: The state at `ts[0]`.
        ts: Times to report, which strictly increase.
        bm: The Brownian motion. Default: one whose seed torch's generator draws; the cheapest for fixed steps.
        method: "euler", "milstein" or "srk" in Ito's sense; "midpoint", "heun", "euler_heun", "milstein", "log_ode" or
            "reversible_heun" in Stratonovich's. Default: "srk" ("euler" for general noise), "midpoint".
        dt: The step size; with `adaptive` the first one.
        adaptive: Whether step sizes are chosen from the error.
        rtol: Relative tolerance.
        atol: Absolute tolerance.
        dt_min: The smallest step size, at which every step is accepted.
        options: `grad_free`, of "milstein": take differences in place of derivatives. `compile`: True, or "require", to
            make the solve and its gradient one compiled loop.
        names: What the methods of `sde` are called: "drift", "diffusion", "prior_drift", "diffusion_prod",
            "drift_and_diffusion", "drift_and_diffusion_prod".
        logqp: Whether to return the log-ratio of the measures that `f` and `h` make, between the times.
        extra: Whether to return the state of the method, a tuple, empty but for "reversible_heun".
        extra_solver_state: The state of the method to go on from.
        **unused_kwargs: Of no effect, with a warning.

    Shapes:
        y0: `(B, d)`.  ts: `(T,)`.  bm: `(B, m)`; with diagonal noise and `logqp` also `(B, d + 1)`.

    Returns:
        The states `(T, B, d)`; with `logqp`, a tuple that goes on with the log-ratios `(T - 1, B)`; with `extra`, with
        the state of the method.

    Raises:
        OptionError: If the equation's type, a method, an option or a name is no known one, or they do not go together.
        ShapeError: If the state, the times, or what the equation's functions return has the wrong shape.
        IncompatibleError: If the equation lacks a function.

    Example:
        >>> import torch
        >>> from torchdyn_sde.compat import torchsde
        >>> class Walk(torchsde.SDEIto):
        ...     def f(self, t, y):
        ...         return torch.zeros_like(y)
        ...     def g(self, t, y):
        ...         return torch.ones_like(y)
        >>> bm = torchsde.BrownianInterval(0.0, 1.0, size=(4, 2), entropy=0)
        >>> ys = torchsde.sdeint(Walk("diagonal"), torch.zeros(4, 2), [0.0, 1.0], bm=bm, method="euler", dt=0.1)
        >>> torch.allclose(ys[-1], bm(0.0, 1.0), atol=1e-6)
        True
    """
    warn_of_unused("sdeint", unused_kwargs)
    refuse_gradients(dt=dt, rtol=rtol, atol=atol, dt_min=dt_min)
    task = prepared(
        sde, y0, ts, dt=dt, bm=bm, method=method, adaptive=adaptive, options=options, names=names, logqp=logqp,
        products=True,
    )  # fmt: skip
    controller = controller_of(adaptive, dt, rtol, atol, dt_min)
    solution = solved(task, controller, Checkpointed() if task.compile else Direct(), extra_solver_state)
    return returned(task, solution, extra)
