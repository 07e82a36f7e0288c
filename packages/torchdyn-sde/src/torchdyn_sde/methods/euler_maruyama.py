"""The method of Euler and Maruyama."""

from __future__ import annotations

from torch import Tensor

from torchdyn_core import State, Step
from torchdyn_core.binding import BoundField
from torchdyn_core.tree import Tree
from torchdyn_sde.solver import SDESolver, StrongOrder

__all__ = ["EulerMaruyama"]


class EulerMaruyama(SDESolver):
    """Drift and diffusion at the beginning of a step, taken to stay the same: for every kind of noise.

    Its errors on steps are small on average alone, so it does not converge where steps are chosen by looking at the
    noise: it has no error estimate, and `StepDoubling` takes it with additive noise only.

    References:
        Maruyama (1955), Continuous Markov processes and stochastic equations. doi:10.1007/BF02846028

    Example:
        >>> import torch
        >>> from torchdyn_core import Fixed, solve
        >>> from torchdyn_sde import EulerMaruyama, SDEField
        >>> field = SDEField(lambda t, y: -y, lambda t, y: 0.1 * y)
        >>> solve(field, torch.ones(3), [0.0, 1.0], solver=EulerMaruyama(), controller=Fixed(steps=10)).ys.shape
        torch.Size([2, 3])
    """

    strong_order = StrongOrder(diagonal=0.5, scalar=0.5, additive=1.0, general=0.5, commutative=0.5)
    weak_order = 1.0
    interpretation = "ito"
    pathwise = False
    without_estimate = (
        "a method that converges with steps chosen by looking at the noise, which this one does not: srk, "
        "StepDoubling(Milstein()), or heun and its like for field.to_stratonovich()"
    )

    def step(self, field: BoundField, t0: Tensor, t1: Tensor, y: Tree, state: State) -> Step:
        f, g = self.drift(field, t0, y), self.diffusion(field, t0, y)
        y1 = self.add(y, self.scaled(t1 - t0, f), self.noise(field, t0, t1, y, g))
        return self.stepped(y1, cost=2)
