"""The method of Euler and Heun."""

from __future__ import annotations

from torch import Tensor

from torchdyn_core import State, Step
from torchdyn_core.binding import BoundField
from torchdyn_core.tree import Tree
from torchdyn_sde.methods.stratonovich_runge_kutta import ORDERS
from torchdyn_sde.solver import SDESolver

__all__ = ["EulerHeun"]


class EulerHeun(SDESolver):
    """Euler's step for the drift, Heun's for the diffusion: the cheapest method in Stratonovich's sense.

    References:
        Kloeden, Platen (1992), Numerical Solution of Stochastic Differential Equations, chapter 11.

    Example:
        >>> import torch
        >>> from torchdyn_core import Fixed, solve
        >>> from torchdyn_sde import EulerHeun, SDEField
        >>> field = SDEField(lambda t, y: -y, lambda t, y: 0.1 * y, interpretation="stratonovich")
        >>> solve(field, torch.ones(3), [0.0, 1.0], solver=EulerHeun(), controller=Fixed(steps=10)).ys.shape
        torch.Size([2, 3])
    """

    strong_order = ORDERS
    weak_order = 1.0
    interpretation = "stratonovich"
    serves_adjoint = True

    def step(self, field: BoundField, t0: Tensor, t1: Tensor, y: Tree, state: State) -> Step:
        f, g = self.drift(field, t0, y), self.diffusion(field, t0, y)
        dw = self.increment(field, t0, t1, y, g).w
        first = self.acted(field, g, dw)
        second = self.acted(field, self.diffusion(field, t1, self.add(y, first)), dw)
        y1 = self.add(y, self.scaled(t1 - t0, f), self.part(0.5, self.add(first, second)))
        return self.stepped(y1, cost=3)
