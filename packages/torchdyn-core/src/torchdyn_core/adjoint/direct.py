"""Autograd through the loop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torchdyn_core.adjoint.base import Adjoint, Loop, find, watched
from torchdyn_core.loop.problem import Problem, Trajectory

__all__ = ["Direct"]


@dataclass(frozen=True)
class Direct(Adjoint):
    """Autograd through the loop: discretise, then optimise, all of it on the graph.

    Exact for the steps taken; the fastest gradient while the graph of every step fits into memory; the one for double
    backward and forward mode, and the only one for fields that draw random numbers (with `Fixed` steps).

    Example:
        >>> import torch
        >>> from torchdyn_core import Direct, solve
        >>> y0 = torch.tensor([1.0], requires_grad=True)
        >>> solve(lambda t, y: -y, y0, torch.tensor([0.0, 1.0]), adjoint=Direct()).ys[-1].backward()
        >>> round(y0.grad.item(), 3)
        0.368
    """

    replays: ClassVar[bool] = False

    @property
    def unrolls(self) -> bool:
        return True

    def run(self, problem: Problem, loop: Loop) -> Trajectory:
        """Run the loop on the graph."""
        if not problem.controller.adaptive:
            return _run(problem, loop)
        problem, guard = watched(problem, find(problem), None)
        trajectory = _run(problem, loop)
        guard.verify()
        return trajectory


def _run(problem: Problem, loop: Loop) -> Trajectory:
    before = problem.field.calls.count
    trajectory = loop(problem)
    trajectory.stats.evaluations = problem.field.calls.count - before
    return trajectory
