"""Roessler's stochastic Runge-Kutta method of strong order 1.5."""

from __future__ import annotations

from torch import Tensor

from torchdyn_core import State, Step
from torchdyn_core.binding import BoundField
from torchdyn_core.tree import Tree, tree_map
from torchdyn_sde.methods.sra1 import SRA1, drift_error
from torchdyn_sde.solver import SDESolver, StrongOrder, at, source_of

__all__ = ["SRK"]

# SRI1W1. The diffusion's stages: node, weight of the first drift, weights of earlier diffusions times the root of the
# step size. (The third drift that the paper's tableau has is the first one.)
_STAGES = ((0.25, 0.25, (0.5,)), (1.0, 1.0, (-1.0, 0.0)), (0.25, 0.25, (-5.0, 3.0, 0.5)))
# How much of each of them counts: of I(1), I(1,1) / sqrt(h), I(1,0) / h, I(1,1,1) / h.
_BETA = (
    (-1.0, 4.0 / 3.0, 2.0 / 3.0, 0.0),
    (-1.0, 4.0 / 3.0, -1.0 / 3.0, 0.0),
    (2.0, -4.0 / 3.0, -2.0 / 3.0, 0.0),
    (-2.0, 5.0 / 3.0, -2.0 / 3.0, 1.0),
)


class SRK(SDESolver):
    """Strong order 1.5 for noises that do not mix: SRI1W1, and SRA1 where the noise is additive.

    References:
        Roessler (2010), Runge-Kutta methods for the strong approximation of solutions of stochastic differential
        equations. doi:10.1137/09076636X

    Example:
        >>> import torch
        >>> from torchdyn_core import Fixed, solve
        >>> from torchdyn_sde import SRK, SDEField
        >>> field = SDEField(lambda t, y: -y, lambda t, y: 0.1 * y)
        >>> solve(field, torch.ones(3), [0.0, 1.0], solver=SRK(), controller=Fixed(steps=10)).ys.shape
        torch.Size([2, 3])
    """

    strong_order = StrongOrder(diagonal=1.5, scalar=1.5, additive=1.5)
    weak_order = 2.0
    commuting = True
    interpretation = "ito"
    order = 2
    area = "space-time"
    has_error_estimate = True

    def step(self, field: BoundField, t0: Tensor, t1: Tensor, y: Tree, state: State) -> Step:
        source = source_of(field)
        if source.noise.constant:
            return SRA1().step(field, t0, t1, y, state)
        dt, root = t1 - t0, (t1 - t0).abs().sqrt()
        f, g = self.drift(field, t0, y), self.diffusion(field, t0, y)
        noise = self.increment(field, t0, t1, y, g)
        mean = self.add(noise.h, self.part(0.5, noise.w))  # I(1,0) / h
        first = self.scaled(dt, f)
        ahead = self.add(y, self.part(0.75, first), self.part(1.5, self.acted(field, g, mean)))
        second = self.scaled(dt, self.drift(field, at(t0, t1, 0.75), ahead))
        diffusions = [g]
        for node, weight, earlier in _STAGES:
            terms = [self.part(w, d) for w, d in zip(earlier, diffusions, strict=True) if w]
            stage = self.add(y, self.part(weight, first), self.scaled(root, self.add(*terms)))
            diffusions.append(self.diffusion(field, at(t0, t1, node), stage))
        integrals = self._integrals(dt, root, noise.w, mean)
        start = self.add(y, self.part(1.0 / 3.0, first), self.part(2.0 / 3.0, second))
        y1 = self._pushed(field, start, diffusions, integrals, 0)
        error = self._pushed(field, drift_error(first, second), diffusions, integrals, 2)
        return self.stepped(y1, error=error, cost=6)

    def _pushed(
        self, field: BoundField, y: Tree, diffusions: list[Tree], integrals: tuple[Tree, ...], first: int
    ) -> Tree:
        """A state and what the diffusions do to it, with the integrals from the given one on."""
        for diffusion, weights in zip(diffusions, zip(*_BETA, strict=True), strict=True):
            parts = zip(weights[first:], integrals[first:], strict=True)
            y = self.add(y, self.acted(field, diffusion, self.add(*(self.part(w, part) for w, part in parts if w))))
        return y

    def _integrals(self, dt: Tensor, root: Tensor, w: Tree, mean: Tree) -> tuple[Tree, Tree, Tree, Tree]:
        """I(1), I(1,1) / sqrt(h), I(1,0) / h, I(1,1,1) / h."""
        h = dt.abs()
        still = h == 0  # rows that stand still
        over_root, over_h = 1.0 / root.masked_fill(still, 1.0), 1.0 / h.masked_fill(still, 1.0)
        square, cube = tree_map(lambda x: 0.5 * x * x, w), tree_map(lambda x: x * x * x / 6.0, w)
        ones = tree_map(lambda x: x.new_ones(()).expand_as(x), w)
        second = self.add(self.scaled(over_root, square), self.scaled(-0.5 * root, ones))
        third = self.add(self.scaled(over_h, cube), self.part(-0.5, w))
        return w, second, mean, third
