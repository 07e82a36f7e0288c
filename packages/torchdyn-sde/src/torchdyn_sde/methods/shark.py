"""The shifted Runge-Kutta method for additive noise, ShARK."""

from __future__ import annotations

from torch import Tensor

from torchdyn_core import State, Step
from torchdyn_core.binding import BoundField
from torchdyn_core.tree import Tree, tree_map
from torchdyn_sde.methods.sra1 import drift_error
from torchdyn_sde.solver import SDESolver, StrongOrder, at

__all__ = ["ShARK"]


class ShARK(SDESolver):
    """Strong order 1.5 for additive noise, in two evaluations of the drift, both shifted by the path's area.

    References:
        Foster, dos Reis, Strange (2024), High order splitting methods for SDEs satisfying a commutativity condition.
        arXiv 2210.17543

    Example:
        >>> import torch
        >>> from torchdyn_core import Fixed, solve
        >>> from torchdyn_sde import SDEField, ShARK
        >>> field = SDEField(lambda t, y: -y, lambda t, y: 0.1 * torch.ones_like(y), noise="additive")
        >>> solve(field, torch.ones(3), [0.0, 1.0], solver=ShARK(), controller=Fixed(steps=10)).ys.shape
        torch.Size([2, 3])
    """

    strong_order = StrongOrder(additive=1.5)
    weak_order = 2.0
    interpretation = "ito"
    area = "space-time"
    has_error_estimate = True

    def step(self, field: BoundField, t0: Tensor, t1: Tensor, y: Tree, state: State) -> Step:
        dt = t1 - t0
        g0, g1 = self.diffusion(field, t0, y), self.diffusion(field, t1, y)
        noise = self.increment(field, t0, t1, y, g0)
        pushed = self.acted(field, g0, noise.w)
        shifted = self.add(y, self.acted(field, g0, noise.h))
        first = self.scaled(dt, self.drift(field, t0, shifted))
        stage = self.add(shifted, self.part(5.0 / 6.0, self.add(first, pushed)))
        second = self.scaled(dt, self.drift(field, at(t0, t1, 5.0 / 6.0), stage))
        # a diffusion that changes with time: its mean slope, and what the path does with a slope
        change = tree_map(lambda a, b: b - a, g0, g1)
        drifted = self.acted(field, change, self.add(self.part(0.5, noise.w), self.part(-1.0, noise.h)))
        y1 = self.add(y, self.part(0.4, first), self.part(0.6, second), pushed, drifted)
        return self.stepped(y1, error=self.add(drift_error(first, second), drifted), cost=4)
