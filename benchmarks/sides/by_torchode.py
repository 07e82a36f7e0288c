"""torchode: steps per sample by `AutoDiffAdjoint`, eager or compiled."""

from __future__ import annotations

import torch
import torchode

from benchmarks.compare import Contender, Count
from benchmarks.problem import Problem, Result, finished


def contender(problem: Problem, *, compile: bool) -> Contender:
    """A problem with steps per sample and one axis of state."""
    term = torchode.ODETerm(problem.field)
    controller = torchode.IntegralController(atol=problem.tolerance, rtol=problem.tolerance, term=term)
    solver = torchode.AutoDiffAdjoint(torchode.Dopri5(term=term), controller).to(problem.y0.dtype)
    solve = torch.compile(solver.solve) if compile else solver.solve
    given = torchode.InitialValueProblem(y0=problem.y0, t_eval=problem.ts.repeat(len(problem.y0), 1))

    def call() -> Result:
        return finished(problem, solve(given).ys[:, -1])

    def count() -> Count:
        stats = solve(given).stats
        accepted, steps = int(stats["n_accepted"].sum()), int(stats["n_steps"].sum())
        return Count(accepted, steps - accepted, int(stats["n_f_evals"].max()))

    return Contender(f"torchode AutoDiffAdjoint{', compiled' if compile else ''}", call, count, compiles=compile)
