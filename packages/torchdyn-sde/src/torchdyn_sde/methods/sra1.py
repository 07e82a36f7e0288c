"""Roessler's SRA1, for additive noise."""

from __future__ import annotations

import torch
from torch import Tensor

from torchdyn_core import State, Step
from torchdyn_core.binding import BoundField
from torchdyn_core.tree import Tree, tree_map
from torchdyn_sde.solver import SDESolver, StrongOrder, at

__all__ = ["SRA1", "drift_error"]


class SRA1(SDESolver):
    """Strong order 1.5 for additive noise, in two evaluations of the drift; the diffusion may depend on time.

    References:
        Roessler (2010), Runge-Kutta methods for the strong approximation of solutions of stochastic differential
        equations. doi:10.1137/09076636X

    Example:
        >>> import torch
        >>> from torchdyn_core import Fixed, solve
        >>> from torchdyn_sde import SRA1, SDEField
        >>> field = SDEField(lambda t, y: -y, lambda t, y: 0.1 * torch.ones_like(y), noise="additive")
        >>> solve(field, torch.ones(3), [0.0, 1.0], solver=SRA1(), controller=Fixed(steps=10)).ys.shape
        torch.Size([2, 3])
    """

    strong_order = StrongOrder(additive=1.5)
    weak_order = 2.0
    interpretation = "ito"
    area = "space-time"
    has_error_estimate = True

    def step(self, field: BoundField, t0: Tensor, t1: Tensor, y: Tree, state: State) -> Step:
        dt = t1 - t0
        f, g0, g1 = self.drift(field, t0, y), self.diffusion(field, t0, y), self.diffusion(field, t1, y)
        noise = self.increment(field, t0, t1, y, g0)
        mean = self.add(noise.h, self.part(0.5, noise.w))  # of the path over the step, from where it begins
        ahead = self.acted(field, g1, mean)
        stage = self.add(y, self.part(0.75, self.scaled(dt, f)), self.part(1.5, ahead))
        second = self.drift(field, at(t0, t1, 0.75), stage)
        y1 = self.add(
            y,
            self.part(1.0 / 3.0, self.scaled(dt, f)),
            self.part(2.0 / 3.0, self.scaled(dt, second)),
            self.acted(field, g1, noise.w),
            self.acted(field, g0, mean),
            self.part(-1.0, ahead),
        )
        error = drift_error(self.scaled(dt, f), self.scaled(dt, second))
        error = self.add(error, self.acted(field, tree_map(torch.sub, g0, g1), mean))
        return self.stepped(y1, error=error, cost=4)


def drift_error(first: Tree, second: Tree) -> Tree:
    """A sixth of how much the drift of a step changes between its stages: Rackauckas and Nie's estimate."""
    return tree_map(lambda a, b: (b - a) / 6.0, first, second)
