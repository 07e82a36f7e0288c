"""Euler's method."""

from __future__ import annotations

from torchdyn_core.runge_kutta import ExplicitRungeKutta
from torchdyn_core.tableau import ButcherTableau

__all__ = ["Euler"]


class Euler(ExplicitRungeKutta):
    r"""Euler's method: one evaluation a step, first order, linear dense output.

    It has no error estimate: it goes with `Fixed`.

    References:
        Hairer, Noersett, Wanner (1993), Solving Ordinary Differential Equations I, I.7.

    Example:
        >>> import torch
        >>> from torchdyn_core import Euler, Fixed, solve
        >>> ts = torch.tensor([0.0, 1.0])
        >>> solve(lambda t, y: -y, torch.ones(1), ts, solver=Euler(), controller=Fixed(steps=10)).ys[-1]
        tensor([0.3487])
    """

    order = 1
    dense_order = 1
    tableau = ButcherTableau(c=(0.0,), a=(), b=(1.0,), dense=((1.0,),))
