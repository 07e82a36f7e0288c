"""What both sides of a comparison are given, and what is asked of them."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
import torchdiffeq
from scipy.integrate import solve_ivp
from torch import Tensor, nn


class Result(NamedTuple):
    """The last state, and the gradients of the sum of its squares: tensors, or arrays of another library."""

    last: Any
    gradients: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Problem:
    """An initial value problem.

    Arguments:
        name: For the tables.
        field: A module `f(t, y)`.
        y0: The state at `ts[0]`; its gradient is wanted where it requires one.
        ts: Times to report, the last one among them.
        tolerance: Relative and absolute.
        gradient: Whether the gradients of `sum(y(t1)^2)` are wanted, of the field's parameters and of `y0`.
        per_sample: Whether each row of `y0` takes its own steps.
        max_steps: The most that a solve may try, where a library sets a limit.
    """

    name: str
    field: nn.Module
    y0: Tensor
    ts: Tensor
    tolerance: float
    gradient: bool = False
    per_sample: bool = False
    max_steps: int = 4096

    @property
    def options(self) -> str:
        """Method and tolerance."""
        return f"dopri5, rtol = atol = {self.tolerance:g}"

    @property
    def constants(self) -> tuple[Tensor, ...]:
        """All that the field depends on: its parameters and its buffers."""
        return (*self.field.parameters(), *self.field.buffers())

    @property
    def wanted(self) -> tuple[Tensor, ...]:
        """What gradients are wanted of."""
        if not self.gradient:
            return ()
        return (*([self.y0] if self.y0.requires_grad else []), *self.field.parameters())


def finished(problem: Problem, last: Tensor) -> Result:
    """A result by torch: differentiates where gradients are wanted."""
    if not problem.gradient:
        return Result(last)
    return Result(last.detach(), torch.autograd.grad(last.square().sum(), problem.wanted))


def reference(problem: Problem) -> Result:
    """State and gradients to 1e-12: the state by SciPy, the gradients in float64 by torchdiffeq's dopri8."""
    field, ts = deepcopy(problem.field).double(), problem.ts[[0, -1]].double()
    y0 = problem.y0.detach().double().requires_grad_(problem.y0.requires_grad)

    def flat(t: float, y: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            slope: Tensor = field(torch.tensor(t, dtype=torch.float64), torch.as_tensor(y).reshape(y0.shape))
        return slope.flatten().numpy()

    start = y0.detach().flatten().numpy()
    state = torch.from_numpy(solve_ivp(flat, ts.tolist(), start, "DOP853", rtol=1e-12, atol=1e-12).y[:, -1])
    if not problem.gradient:
        return Result(state.reshape(y0.shape))
    exact = Problem(problem.name, field, y0, ts, 1e-12, gradient=True)
    options = {"step_t": ts[-1:]}  # a step ends there: no interpolation
    last = torchdiffeq.odeint(field, y0, ts, rtol=1e-12, atol=1e-12, method="dopri8", options=options)[-1]
    return Result(state.reshape(y0.shape), finished(exact, last).gradients)


def errors(result: Result, exact: Result) -> tuple[float, float | None]:
    """Largest error of the state, absolute; and of the gradients, each relative to its largest entry."""

    def gap(ours: Any, theirs: Tensor) -> float:
        return (_tensor(ours) - theirs).abs().max().item()

    pairs = zip(result.gradients, exact.gradients, strict=True)
    relative = [gap(ours, theirs) / theirs.abs().max().item() for ours, theirs in pairs]
    return gap(result.last, exact.last), max(relative, default=None)


def _tensor(values: Any) -> Tensor:
    values = values.detach() if isinstance(values, Tensor) else torch.from_numpy(np.array(values))
    return values.double()
