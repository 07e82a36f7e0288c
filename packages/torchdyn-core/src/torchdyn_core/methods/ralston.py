"""Ralston's method, of least truncation error among the second-order ones."""

from __future__ import annotations

from torchdyn_core.runge_kutta import ExplicitRungeKutta
from torchdyn_core.tableau import ButcherTableau, cubic_hermite

__all__ = ["Ralston"]

_B = (0.25, 0.75)


class Ralston(ExplicitRungeKutta):
    r"""Ralston's method: second order with the least truncation error, with Euler's method embedded.

    Dense output is cubic Hermite, at one more evaluation for each step that a report falls into.

    References:
        Ralston (1962), Runge-Kutta methods with minimum error bounds. doi:10.1090/S0025-5718-1962-0150954-0
    Example:
        >>> import torch
        >>> from torchdyn_core import Ralston, Fixed, solve
        >>> ts = torch.tensor([0.0, 1.0])
        >>> solve(lambda t, y: -y, torch.ones(1), ts, solver=Ralston(), controller=Fixed(steps=10)).ys[-1]
        tensor([0.3685])
    """

    order = 2
    dense_order = 2
    tableau = ButcherTableau(
        c=(0.0, 2 / 3),
        a=((2 / 3,),),
        b=_B,
        error=(_B[0] - 1.0, _B[1]),
        dense=cubic_hermite(_B),
        extra=((1.0, _B),),
    )
