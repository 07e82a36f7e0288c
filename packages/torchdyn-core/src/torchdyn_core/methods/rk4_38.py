"""Kutta's 3/8 rule."""

from __future__ import annotations

from torchdyn_core.runge_kutta import ExplicitRungeKutta
from torchdyn_core.tableau import ButcherTableau, cubic_hermite

__all__ = ["RK4ThreeEighths"]

_B = (1 / 8, 3 / 8, 3 / 8, 1 / 8)


class RK4ThreeEighths(ExplicitRungeKutta):
    r"""Kutta's 3/8 rule: fourth order, four evaluations.

    It has no error estimate: it goes with `Fixed`. Dense output is cubic Hermite.

    References:
        Hairer, Noersett, Wanner (1993), Solving Ordinary Differential Equations I, II.1, table 1.2.

    Example:
        >>> import torch
        >>> from torchdyn_core import RK4ThreeEighths, Fixed, solve
        >>> ts = torch.tensor([0.0, 1.0])
        >>> solve(lambda t, y: -y, torch.ones(1), ts, solver=RK4ThreeEighths(), controller=Fixed(steps=10)).ys[-1]
        tensor([0.3679])
    """

    order = 4
    dense_order = 3
    tableau = ButcherTableau(
        c=(0.0, 1 / 3, 2 / 3, 1.0),
        a=((1 / 3,), (-1 / 3, 1.0), (1.0, -1.0, 1.0)),
        b=_B,
        dense=cubic_hermite(_B),
        extra=((1.0, _B),),
    )
