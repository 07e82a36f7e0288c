"""Ralston's method for equations in Stratonovich's sense."""

from __future__ import annotations

from torchdyn_sde.methods.stratonovich_runge_kutta import TwoStage

__all__ = ["Ralston"]


class Ralston(TwoStage):
    """Ralston's method: the slope at the beginning of a step, and two thirds into it.

    References:
        Ralston (1962), Runge-Kutta methods with minimum error bounds. doi:10.1090/S0025-5718-1962-0150954-0

    Example:
        >>> import torch
        >>> from torchdyn_core import Fixed, solve
        >>> from torchdyn_sde import Ralston, SDEField
        >>> field = SDEField(lambda t, y: -y, lambda t, y: 0.1 * y, interpretation="stratonovich")
        >>> solve(field, torch.ones(3), [0.0, 1.0], solver=Ralston(), controller=Fixed(steps=10)).ys.shape
        torch.Size([2, 3])
    """

    node = 2.0 / 3.0
    last = 0.75
