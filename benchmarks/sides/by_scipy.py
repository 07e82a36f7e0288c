"""SciPy: `solve_ivp` with RK45, the same pair of Dormand and Prince."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.integrate import solve_ivp

from benchmarks.compare import Contender, Count
from benchmarks.problem import Problem, Result


def contender(problem: Problem, field: Callable[[float, np.ndarray], object]) -> Contender:
    """A forward solve of a problem whose field is also given in NumPy."""
    y0, span = problem.y0.detach().numpy(), (problem.ts[0].item(), problem.ts[-1].item())
    options = {"method": "RK45", "rtol": problem.tolerance, "atol": problem.tolerance}

    def call() -> Result:
        return Result(solve_ivp(field, span, y0, **options).y[:, -1])

    def count() -> Count:
        solution = solve_ivp(field, span, y0, **options)
        accepted = len(solution.t) - 1
        tried = (solution.nfev - 2) // 6  # a first slope and one for the first step size; then six a step
        return Count(accepted, tried - accepted, solution.nfev)

    return Contender("SciPy solve_ivp", call, count)
