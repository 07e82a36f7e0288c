"""The method SLOW-RK."""

from __future__ import annotations

from torchdyn_sde.methods.path_runge_kutta import PathRungeKutta
from torchdyn_sde.solver import StrongOrder
from torchdyn_sde.stochastic_tableau import SLOW_RK

__all__ = ["SlowRK"]


class SlowRK(PathRungeKutta):
    """Strong order 1.5 for noises that commute, in two evaluations of the drift and five of the diffusion.

    References:
        Foster, dos Reis, Strange (2024), High order splitting methods for SDEs satisfying a commutativity condition.
        arXiv 2210.17543

    Example:
        >>> import torch
        >>> from torchdyn_core import Fixed, solve
        >>> from torchdyn_sde import SDEField, SlowRK
        >>> field = SDEField(lambda t, y: -y, lambda t, y: 0.1 * y, interpretation="stratonovich")
        >>> solve(field, torch.ones(3), [0.0, 1.0], solver=SlowRK(), controller=Fixed(steps=10)).ys.shape
        torch.Size([2, 3])
    """

    tableau = SLOW_RK
    strong_order = StrongOrder(diagonal=1.5, scalar=1.5, additive=1.5, commutative=1.5, general=0.5)
    weak_order = 2.0
    commuting = True
