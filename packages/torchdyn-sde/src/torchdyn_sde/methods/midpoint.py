"""The midpoint method for equations in Stratonovich's sense."""

from __future__ import annotations

from torchdyn_sde.methods.stratonovich_runge_kutta import TwoStage

__all__ = ["Midpoint"]


class Midpoint(TwoStage):
    """The midpoint method: the slope in the middle of a step.

    References:
        Ruemelin (1982), Numerical treatment of stochastic differential equations. doi:10.1137/0719041

    Example:
        >>> import torch
        >>> from torchdyn_core import Fixed, solve
        >>> from torchdyn_sde import Midpoint, SDEField
        >>> field = SDEField(lambda t, y: -y, lambda t, y: 0.1 * y, interpretation="stratonovich")
        >>> solve(field, torch.ones(3), [0.0, 1.0], solver=Midpoint(), controller=Fixed(steps=10)).ys.shape
        torch.Size([2, 3])
    """

    node = 0.5
    last = 1.0
