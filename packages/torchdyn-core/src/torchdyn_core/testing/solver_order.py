"""What a solver's numbers have to do: its orders, its error estimate, its slope."""

from __future__ import annotations

import math
from typing import ClassVar

import torch

from torchdyn_core.binding import BoundField
from torchdyn_core.controller import PID, Fixed
from torchdyn_core.solver import Solver, State
from torchdyn_core.testing.measure import finest, slope
from torchdyn_core.testing.problems import Problem, reversed_in_time
from torchdyn_core.testing.solver_problem import ProblemSuite, or_skip
from torchdyn_core.testing.steps import (
    DTYPE,
    ask,
    difference,
    in_double,
    interpolated,
    last,
    one_step,
    rms,
    skip_unless,
    solved,
    times,
)
from torchdyn_core.tree import leaves, tree_map

__all__ = ["OrderSuite"]


class OrderSuite(ProblemSuite, suite=True):
    """The part of `SolverSuite` that measures; its problems are those of the whole suite.

    Attributes:
        error_order: The error estimate shrinks as this power of the step size. Default: the solver's order, as that of
            an embedded method of one order less.
    """

    error_order: ClassVar[int | None] = None

    def test_order(self) -> None:
        """The global error falls as the solver's order says, within 0.2."""
        assert_order(self.make(), self.problem())

    def test_order_in_reverse_time(self) -> None:
        """Backwards too."""
        assert_order(self.make(), reversed_in_time(self.problem()))

    def test_order_of_a_complex_state(self) -> None:
        """For complex states too."""
        assert_order(self.make(), or_skip(self, self.complex_problem(), "complex states"))

    def test_order_of_a_tree(self) -> None:
        """For trees too."""
        assert_order(self.make(), or_skip(self, self.tree_problem(), "trees"))

    def test_dense_order(self) -> None:
        """Between steps the local error falls as `dense_order + 1`, within 0.25; at the ends dense output is exact."""
        solver, problem = in_double(self.make()), self.problem()
        bound = BoundField(problem.field)

        def error(dt: float) -> float:
            t0, t1, y0, step = one_step(solver, problem, dt)
            theta = torch.linspace(0.05, 0.95, 19, dtype=DTYPE)
            values = interpolated(solver, bound, theta, t0, t1, y0, step)
            return rms(difference(values, problem.exact(torch.lerp(t0, t1, theta))))

        points = finest(error, [0.4 * 1.3**-i for i in range(24)], floor=1e-13, count=5)
        assert abs(slope(points) - 1 - solver.dense_order) < 0.25
        t0, t1, y0, step = one_step(solver, problem, 0.1)
        ends = interpolated(solver, bound, torch.tensor([0.0, 1.0], dtype=DTYPE), t0, t1, y0, step)
        for end, first, final in zip(leaves(ends), leaves(y0), leaves(step.y), strict=True):
            torch.testing.assert_close(end, torch.stack((first, final)), rtol=1e-12, atol=1e-13)

    def test_error_estimate_order(self) -> None:
        """The error estimate falls as `error_order` says, within 0.3, and drives step-size control to its tolerance."""
        solver, problem = in_double(self.make()), self.problem()
        skip_unless(solver.has_error_estimate, solver, "has no error estimate")

        def size(dt: float) -> float:
            return rms(one_step(solver, problem, dt)[3].error)

        points = finest(size, [0.4 * 1.3**-i for i in range(16)], floor=1e-13, count=4)
        assert abs(slope(points) - (self.error_order or solver.order)) < 0.3
        for rtol in (1e-3, 1e-6):
            solution = solved(solver, problem, PID(rtol=rtol, atol=rtol))
            assert rms(difference(last(solution), problem.at(problem.t1))) < 100 * rtol

    def test_the_slope_is_that_of_the_solution(self) -> None:
        """`slope` is dy/dt, which the first step size is chosen by; the one that a step has left is that of its end."""
        solver, problem = in_double(self.make()), self.problem()
        skip_unless(solver.has_error_estimate, solver, "has no error estimate: nobody asks for its slope")
        bound, (t0, t1), h = BoundField(problem.field), times(problem, 0.1), 1e-4
        y0, t2 = problem.at(t0), t1 + (t1 - t0)
        around = problem.exact(torch.stack((t0 - h, t0 + h)))
        want = tree_map(lambda leaf: (leaf[1] - leaf[0]) / (2 * h), around)
        got = solver.slope(bound, t0, y0, solver.init(bound, t0, t2, y0))
        for a, b in zip(leaves(got), leaves(want), strict=True):
            torch.testing.assert_close(a.detach(), b, rtol=1e-5, atol=1e-6)
        step = ask(solver, bound, t0, t1, y0)
        rebuilt = State(step.state.carry, solver.init(bound, t1, t2, step.y).cache)
        kept, anew = (leaves(solver.slope(bound, t1, step.y, state)) for state in (step.state, rebuilt))
        for a, b in zip(kept, anew, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-13, atol=1e-14)


def assert_order(solver: Solver, problem: Problem) -> None:
    """Measure the order of the global error, over all steps of a solve."""
    solver, span = in_double(solver), abs(problem.t1 - problem.t0)

    def error(dt: float) -> float:
        with torch.no_grad():
            solution = solved(solver, problem, Fixed(steps=round(span / dt)), record_steps=True, throw=False)
        if not solution.success:
            return math.inf  # too coarse to be stable
        assert solution.steps is not None
        at, states = solution.steps
        return rms(difference(states, problem.exact(at)))

    sizes = [span / round(9 * 1.3**i) for i in range(16)]
    points = finest(error, sizes, floor=1e-13, count=4)
    assert abs(slope(points) - solver.order) < 0.2
