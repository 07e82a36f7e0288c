"""The explicit midpoint rule."""

from __future__ import annotations

from torchdyn_core.runge_kutta import ExplicitRungeKutta
from torchdyn_core.tableau import ButcherTableau, cubic_hermite

__all__ = ["Midpoint"]

_B = (0.0, 1.0)


class Midpoint(ExplicitRungeKutta):
    r"""The explicit midpoint rule: second order, with Euler's method embedded.

    Dense output is cubic Hermite, at one more evaluation for each step that a report falls into.

    References:
        Hairer, Noersett, Wanner (1993), Solving Ordinary Differential Equations I, II.1 (1.4).

    Example:
        >>> import torch
        >>> from torchdyn_core import Midpoint, Fixed, solve
        >>> ts = torch.tensor([0.0, 1.0])
        >>> solve(lambda t, y: -y, torch.ones(1), ts, solver=Midpoint(), controller=Fixed(steps=10)).ys[-1]
        tensor([0.3685])
    """

    order = 2
    dense_order = 2
    tableau = ButcherTableau(
        c=(0.0, 0.5),
        a=((0.5,),),
        b=_B,
        error=(_B[0] - 1.0, _B[1]),
        dense=cubic_hermite(_B),
        extra=((1.0, _B),),
    )
