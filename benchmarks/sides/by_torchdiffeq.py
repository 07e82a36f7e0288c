"""torchdiffeq: `odeint` with backpropagation through its steps, and `odeint_adjoint`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torchdiffeq
from torch import Tensor, nn

from benchmarks.compare import Contender, Count
from benchmarks.problem import Problem, Result, finished


def direct(problem: Problem) -> Contender:
    """`odeint`; gradients by backpropagation."""
    return _contender("torchdiffeq odeint", problem, torchdiffeq.odeint, {})


def adjoint(problem: Problem) -> Contender:
    """`odeint_adjoint`; gradients by its continuous adjoint."""
    options = {"adjoint_params": tuple(problem.field.parameters())}
    return _contender("torchdiffeq odeint_adjoint", problem, torchdiffeq.odeint_adjoint, options)


def _contender(name: str, problem: Problem, integrate: Callable[..., Tensor], extra: dict[str, Any]) -> Contender:
    options = {"rtol": problem.tolerance, "atol": problem.tolerance, "method": "dopri5", **extra}

    def call() -> Result:
        return finished(problem, integrate(problem.field, problem.y0, problem.ts, **options)[-1])

    def count() -> Count:
        field = CountedField(problem.field)
        finished(problem, integrate(field, problem.y0, problem.ts, **options)[-1])
        return Count(field.accepted, field.rejected, field.evaluations)

    return Contender(name, call, count)


class CountedField(nn.Module):
    """A field that counts its evaluations, and the steps that torchdiffeq reports to it."""

    def __init__(self, field: nn.Module) -> None:
        super().__init__()
        self.field = field
        self.evaluations = self.accepted = self.rejected = 0

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """The slope."""
        self.evaluations += 1
        return self.field(t, y)

    def callback_accept_step(self, *_: Tensor) -> None:
        """Called by torchdiffeq."""
        self.accepted += 1

    def callback_reject_step(self, *_: Tensor) -> None:
        """Called by torchdiffeq."""
        self.rejected += 1
