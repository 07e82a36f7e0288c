"""The splitting path Runge-Kutta method, SPaRK."""

from __future__ import annotations

from torchdyn_sde.methods.path_runge_kutta import PathRungeKutta
from torchdyn_sde.solver import StrongOrder
from torchdyn_sde.stochastic_tableau import SPARK

__all__ = ["SPaRK"]


class SPaRK(PathRungeKutta):
    """Three stages along a broken line that has the path's increment and area: for every noise, with an error estimate.

    References:
        Foster, Jelincic (2023), On the convergence of adaptive approximations for stochastic differential equations.
        arXiv 2311.14201

    Example:
        >>> import torch
        >>> from torchdyn_core import Fixed, solve
        >>> from torchdyn_sde import SDEField, SPaRK
        >>> field = SDEField(lambda t, y: -y, lambda t, y: 0.1 * y, interpretation="stratonovich")
        >>> solve(field, torch.ones(3), [0.0, 1.0], solver=SPaRK(), controller=Fixed(steps=10)).ys.shape
        torch.Size([2, 3])
    """

    tableau = SPARK
    strong_order = StrongOrder(diagonal=1.0, scalar=1.0, additive=1.5, commutative=1.0, general=0.5)
    weak_order = 1.0
