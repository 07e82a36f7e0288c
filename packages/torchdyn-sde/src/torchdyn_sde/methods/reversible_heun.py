"""The reversible Heun method."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from torchdyn_core import State, Step
from torchdyn_core.binding import BoundField
from torchdyn_core.tree import Tree, tree_map
from torchdyn_sde.methods.stratonovich_runge_kutta import ORDERS
from torchdyn_sde.solver import SDESolver

__all__ = ["Carry", "ReversibleHeun"]


class Carry(NamedTuple):
    """The second state, and drift and diffusion there."""

    z: Tree
    f: Tree
    g: Tree


class ReversibleHeun(SDESolver):
    """Heun's method with a second state, which makes each step one that is undone exactly; one evaluation a step.

    References:
        Kidger, Foster, Li, Lyons (2021), Efficient and accurate gradients for neural SDEs. arXiv 2105.13493

    Example:
        >>> import torch
        >>> from torchdyn_core import Fixed, solve
        >>> from torchdyn_sde import ReversibleHeun, SDEField
        >>> field = SDEField(lambda t, y: -y, lambda t, y: 0.1 * y, interpretation="stratonovich")
        >>> solve(field, torch.ones(3), [0.0, 1.0], solver=ReversibleHeun(), controller=Fixed(steps=10)).ys.shape
        torch.Size([2, 3])
    """

    strong_order = ORDERS
    weak_order = 1.0
    interpretation = "stratonovich"
    has_error_estimate = True
    reversible = True

    def init(self, field: BoundField, t0: Tensor, t1: Tensor, y0: Tree) -> State:
        self.try_declared(field, t0, y0)
        f, g = self.drift(field, t0, y0), self.diffusion(field, t0, y0)
        return State(carry=Carry(tree_map(Tensor.clone, y0), f, g))

    def step(self, field: BoundField, t0: Tensor, t1: Tensor, y: Tree, state: State) -> Step:
        y1, carry, error = self._moved(field, t0, t1, y, state)
        return self.stepped(y1, error=error, cost=2, state=State(carry=carry))

    def reverse(self, field: BoundField, t0: Tensor, t1: Tensor, y1: Tree, state: State) -> tuple[Tree, State]:
        y0, carry, _ = self._moved(field, t1, t0, y1, state)
        return y0, State(carry=carry)

    def _moved(self, field: BoundField, ta: Tensor, tb: Tensor, y: Tree, state: State) -> tuple[Tree, Carry, Tree]:
        """A step in either direction: it is the same formula."""
        z, f, g = Carry(*state.carry)
        dt, dw = tb - ta, self.increment(field, ta, tb, y, g).w
        first = self.add(self.scaled(dt, f), self.acted(field, g, dw))
        there = tree_map(lambda a, b, c: 2.0 * a - b + c, y, z, first)
        f1, g1 = self.drift(field, tb, there), self.diffusion(field, tb, there)
        second = self.add(self.scaled(dt, f1), self.acted(field, g1, dw))
        error = self.part(0.5, tree_map(torch.sub, second, first))
        return self.add(y, self.part(0.5, self.add(first, second))), Carry(there, f1, g1), error
