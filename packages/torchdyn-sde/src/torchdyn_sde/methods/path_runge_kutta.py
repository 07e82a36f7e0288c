"""Explicit stochastic Runge-Kutta methods, from their coefficients."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from torchdyn_core import State, Step
from torchdyn_core.binding import BoundField
from torchdyn_core.tree import Tree
from torchdyn_sde.solver import SDESolver, at
from torchdyn_sde.stochastic_tableau import StochasticTableau

__all__ = ["PathRungeKutta"]


class PathRungeKutta(SDESolver):
    """A method whose stages take drifts times the step size, and diffusions times increment and space-time area.

    Attributes:
        tableau: Its coefficients.
    """

    interpretation = "stratonovich"
    serves_adjoint = True
    area = "space-time"
    tableau: ClassVar[StochasticTableau]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "tableau" in cls.__dict__:
            cls.has_error_estimate = cls.tableau.error is not None

    def step(self, field: BoundField, t0: Tensor, t1: Tensor, y: Tree, state: State) -> Step:
        table, dt = self.tableau, t1 - t0
        drifts: list[Tree] = []  # times the step size
        pushes: list[Tree] = []  # diffusions times the increment
        shifts: list[Tree] = []  # diffusions times the area
        noise, cost = None, 0
        for stage, node in enumerate(table.nodes):
            rows = ((drifts, table.a[stage]), (pushes, table.a_w[stage]), (shifts, table.a_h[stage]))
            time, z = at(t0, t1, node), self._sum(y, *rows)
            drift = push = shift = None
            if table.asks(stage, table.b, table.a):
                drift, cost = self.scaled(dt, self.drift(field, time, z)), cost + 1
            moved = table.asks(stage, table.b_h, table.a_h)
            if moved or table.asks(stage, table.b_w, table.a_w):
                g, cost = self.diffusion(field, time, z), cost + 1
                noise = self.increment(field, t0, t1, y, g) if noise is None else noise
                push = self.acted(field, g, noise.w)
                shift = self.acted(field, g, noise.h) if moved else None
            drifts.append(drift)
            pushes.append(push)
            shifts.append(shift)
        y1 = self._sum(y, (drifts, table.b), (pushes, table.b_w), (shifts, table.b_h))
        if table.error is None:
            return self.stepped(y1, cost=cost)
        error = self._sum(None, (drifts, table.error), (pushes, table.error), (shifts, table.b_h))
        return self.stepped(y1, error=error, cost=cost)

    def _sum(self, y: Tree, *parts: tuple[list[Tree], tuple[float, ...]]) -> Tree:
        """A state and slopes with weights."""
        terms = [self.part(w, slope) for slopes, row in parts for slope, w in zip(slopes, row, strict=True) if w]
        return self.add(*(terms if y is None else [y, *terms]))
