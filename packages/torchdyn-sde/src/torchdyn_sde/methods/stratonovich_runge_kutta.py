"""Explicit Runge-Kutta methods in two stages, for equations in Stratonovich's sense."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from torchdyn_core import State, Step
from torchdyn_core.binding import BoundField
from torchdyn_core.tree import Tree, tree_map
from torchdyn_sde.solver import SDESolver, StrongOrder, at

__all__ = ["TwoStage"]

ORDERS = StrongOrder(diagonal=1.0, scalar=1.0, additive=1.0, general=0.5, commutative=1.0)


class TwoStage(SDESolver):
    """A Runge-Kutta method of order two, with the noise as a slope: its second stage is a part of a step ahead.

    Its error estimate is the distance from a step with the first slope alone.

    Attributes:
        node: Which part.
        last: Weight of the second stage; the first one has the rest.
    """

    strong_order = ORDERS
    weak_order = 1.0
    interpretation = "stratonovich"
    serves_adjoint = True
    has_error_estimate = True
    node: ClassVar[float]
    last: ClassVar[float]

    def step(self, field: BoundField, t0: Tensor, t1: Tensor, y: Tree, state: State) -> Step:
        dt = t1 - t0
        f, g = self.drift(field, t0, y), self.diffusion(field, t0, y)
        dw = self.increment(field, t0, t1, y, g).w
        first = self.add(self.scaled(dt, f), self.acted(field, g, dw))
        middle, time = self.add(y, self.part(self.node, first)), at(t0, t1, self.node)
        f, g = self.drift(field, time, middle), self.diffusion(field, time, middle)
        second = self.add(self.scaled(dt, f), self.acted(field, g, dw))
        error = self.part(self.last, tree_map(torch.sub, second, first))
        return self.stepped(self.add(y, first, error), error=error, cost=4)
