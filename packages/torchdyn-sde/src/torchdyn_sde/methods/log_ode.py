"""The log-ODE method."""

from __future__ import annotations

import torch
from torch import Tensor

from torchdyn_core import State, Step
from torchdyn_core.binding import BoundField
from torchdyn_core.tree import Tree, tree_map
from torchdyn_sde.brownian import BrownianIncrement
from torchdyn_sde.methods.stratonovich_runge_kutta import ORDERS
from torchdyn_sde.solver import SDESolver, at, source_of

__all__ = ["LogODE"]


class LogODE(SDESolver):
    """An ordinary equation for each step, with the path's increment and its Levy area, solved by the midpoint rule.

    The area that two noises sweep is taken as its mean, given their increments `W` and space-time areas `H`: the Lie
    bracket of the fields `g H` and `g W` then has all of it. Where noises do not commute, what is left has a third of
    the variance that it has for increments alone; the order stays the same. The diffusion is differentiated twice a
    stage.

    References:
        | Castell, Gaines (1995), An efficient approximation method for stochastic differential equations by means of
          the exponential Lie series. doi:10.1016/0378-4754(93)E0062-A
        | Foster, Lyons, Oberhauser (2020), An optimal polynomial approximation of Brownian motion. arXiv 1904.06998

    Example:
        >>> import torch
        >>> from torchdyn_core import Fixed, solve
        >>> from torchdyn_sde import LogODE, SDEField
        >>> field = SDEField(lambda t, y: -y, lambda t, y: 0.1 * y, interpretation="stratonovich")
        >>> solve(field, torch.ones(3), [0.0, 1.0], solver=LogODE(), controller=Fixed(steps=10)).ys.shape
        torch.Size([2, 3])
    """

    strong_order = ORDERS
    weak_order = 1.0
    interpretation = "stratonovich"
    area = "space-time"
    has_error_estimate = True

    def step(self, field: BoundField, t0: Tensor, t1: Tensor, y: Tree, state: State) -> Step:
        g = self.diffusion(field, t0, y)
        noise = self.increment(field, t0, t1, y, g)
        first = self._slope(field, t0, t1 - t0, y, g, noise)
        middle, time = self.add(y, self.part(0.5, first)), at(t0, t1, 0.5)
        second = self._slope(field, time, t1 - t0, middle, self.diffusion(field, time, middle), noise)
        error = tree_map(torch.sub, second, first)
        return self.stepped(self.add(y, second), error=error, cost=8)

    def _slope(self, field: BoundField, t: Tensor, dt: Tensor, y: Tree, g: Tree, noise: BrownianIncrement) -> Tree:
        """The right-hand side of the step's equation."""
        pushed, shifted = self.acted(field, g, noise.w), self.acted(field, g, noise.h)
        terms = [self.scaled(dt, self.drift(field, t, y)), pushed]
        if not source_of(field).noise.constant:
            terms.append(self._along(field, t, y, noise.w, shifted))
            terms.append(self.part(-1.0, self._along(field, t, y, noise.h, pushed)))
        return self.add(*terms)

    def _along(self, field: BoundField, t: Tensor, y: Tree, dw: Tree, direction: Tree) -> Tree:
        """How what the diffusion does with a noise changes along a direction."""
        source = source_of(field)

        def slope(time: Tensor, z: Tree, *args: Tree) -> Tree:
            def pushed(x: Tree) -> Tree:
                return source.noise.act(source.noise.checked(source.diffusion(time, x, *args), x), dw)

            made: Tree = torch.func.jvp(pushed, (z,), (direction,))[1]
            return made

        return field.evaluate(slope, t, y)
