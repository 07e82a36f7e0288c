"""Heun's method, the explicit trapezoidal rule."""

from __future__ import annotations

from torchdyn_core.runge_kutta import ExplicitRungeKutta
from torchdyn_core.tableau import ButcherTableau, cubic_hermite

__all__ = ["Heun"]

_B = (0.5, 0.5)


class Heun(ExplicitRungeKutta):
    r"""Heun's method, the explicit trapezoidal rule: second order, with Euler's method embedded.

    Dense output is cubic Hermite, at one more evaluation for each step that a report falls into.

    References:
        Hairer, Noersett, Wanner (1993), Solving Ordinary Differential Equations I, II.1 (1.5).

    Example:
        >>> import torch
        >>> from torchdyn_core import Heun, Fixed, solve
        >>> ts = torch.tensor([0.0, 1.0])
        >>> solve(lambda t, y: -y, torch.ones(1), ts, solver=Heun(), controller=Fixed(steps=10)).ys[-1]
        tensor([0.3685])
    """

    order = 2
    dense_order = 2
    tableau = ButcherTableau(
        c=(0.0, 1.0),
        a=((1.0,),),
        b=_B,
        error=(_B[0] - 1.0, _B[1]),
        dense=cubic_hermite(_B),
        extra=((1.0, _B),),
    )
