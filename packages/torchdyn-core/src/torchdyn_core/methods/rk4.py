"""The classical Runge-Kutta method."""

from __future__ import annotations

from torchdyn_core.runge_kutta import ExplicitRungeKutta
from torchdyn_core.tableau import ButcherTableau, cubic_hermite

__all__ = ["RK4"]

_B = (1 / 6, 1 / 3, 1 / 3, 1 / 6)


class RK4(ExplicitRungeKutta):
    r"""The classical Runge-Kutta method: fourth order, four evaluations.

    It has no error estimate: it goes with `Fixed`. Dense output is cubic Hermite.

    References:
        Hairer, Noersett, Wanner (1993), Solving Ordinary Differential Equations I, II.1, table 1.2.

    Example:
        >>> import torch
        >>> from torchdyn_core import RK4, Fixed, solve
        >>> ts = torch.tensor([0.0, 1.0])
        >>> solve(lambda t, y: -y, torch.ones(1), ts, solver=RK4(), controller=Fixed(steps=10)).ys[-1]
        tensor([0.3679])
    """

    order = 4
    dense_order = 3
    tableau = ButcherTableau(
        c=(0.0, 0.5, 0.5, 1.0),
        a=((0.5,), (0.0, 0.5), (0.0, 0.0, 1.0)),
        b=_B,
        dense=cubic_hermite(_B),
        extra=((1.0, _B),),
    )
