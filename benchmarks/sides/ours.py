"""torchdyn-core: `solve`, eager or compiled."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from benchmarks.compare import Contender, Count
from benchmarks.problem import Problem, Result, finished
from torchdyn_core import PID, Adjoint, Checkpointed, DormandPrince5, Solution, Stats, solve


def eager(problem: Problem, adjoint: Adjoint | None = None, *, tolerance: float | None = None) -> Contender:
    """The loop in Python, with a choice of adjoints; at a tolerance of its own where that of the problem errs more."""
    label = f", {type(adjoint).__name__}" if adjoint is not None else ""
    return _contender(f"torchdyn-core solve{label}", problem, adjoint or Checkpointed(), tolerance, compile=False)


def compiled(problem: Problem, *, tolerance: float | None = None) -> Contender:
    """The whole solve, and its gradient, as compiled loops; never falls back to the eager loop."""
    return _contender("torchdyn-core solve, compiled", problem, Checkpointed(), tolerance, compile="require")


def _contender(
    name: str, problem: Problem, adjoint: Adjoint, tolerance: float | None, *, compile: bool | str
) -> Contender:
    if tolerance is not None:
        name, problem = f"{name}, tolerance {tolerance:g}", replace(problem, tolerance=tolerance)
    solver, controller = DormandPrince5(), PID(rtol=problem.tolerance, atol=problem.tolerance)

    def integrate() -> Solution:
        return solve(
            problem.field, problem.y0, problem.ts, solver=solver, controller=controller, adjoint=adjoint,
            per_sample=problem.per_sample, max_steps=problem.max_steps, compile=compile,
        )  # fmt: skip

    def call() -> Result:
        return finished(problem, integrate().ys[-1])

    def count() -> Count:
        solution = integrate()
        finished(problem, solution.ys[-1])
        return counted(solution.stats)

    return Contender(name, call, count, compiles=compile is not False)


def counted(stats: Stats) -> Count:
    """A solution's own statistics."""
    accepted, rejected = (int(sum(part) if hasattr(part, "sum") else part) for part in (stats.accepted, stats.rejected))
    return Count(accepted, rejected, stats.evaluations + stats.backward_evaluations)


def first_step(problem: Problem) -> Tensor:
    """The size of the first step that the eager loop accepts, `()`, or `(B,)` with steps per sample."""
    controller = PID(rtol=problem.tolerance, atol=problem.tolerance)
    with torch.no_grad():
        solution = solve(
            problem.field, problem.y0, problem.ts[[0, -1]], solver=DormandPrince5(), controller=controller,
            per_sample=problem.per_sample, max_steps=problem.max_steps, record_steps=True,
        )  # fmt: skip
    assert solution.steps is not None
    lengths = solution.steps[0].diff(dim=0)
    first = (lengths > 0).int().argmax(0, keepdim=True)  # a sample whose first try is rejected waits for the others
    return lengths.gather(0, first)[0]
