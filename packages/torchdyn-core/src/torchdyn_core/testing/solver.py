"""What every solver has to do."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from torchdyn_core.adjoint import Checkpointed, Direct
from torchdyn_core.binding import BoundField
from torchdyn_core.controller import PID, Fixed
from torchdyn_core.field import VectorField
from torchdyn_core.solution import Solution
from torchdyn_core.solve import solve
from torchdyn_core.solver import Solver, State, Step
from torchdyn_core.testing.measure import finest, slope
from torchdyn_core.testing.problems import Problem, complex_rotation, reversed_in_time, rotation, tree_rotation
from torchdyn_core.testing.suite import Suite
from torchdyn_core.tree import Tree, leaves, tree_map

__all__ = ["SolverSuite"]

DTYPE = torch.float64
DTYPES = (torch.float64, torch.float32, torch.bfloat16)
STEPS = 24  # enough for every explicit method to be stable on the default problem


class SolverSuite(Suite[Solver], suite=True):
    """Order, error estimate, dense output, purity, dtypes, rows, trees, gradients: all that the contract asks.

    What the solver declares of itself decides which tests apply: `has_error_estimate`, `reversible`, `accepts`. A
    solver that steps a field class of its own gives a `problem` of that class, and `complex_problem` and `tree_problem`
    where it steps such states.

    Attributes:
        error_order: The error estimate shrinks as this power of the step size. Default: the solver's order, as that of
            an embedded method of one order less.

    Example:
        >>> from torchdyn_core import Heun
        >>> from torchdyn_core.testing import SolverSuite
        >>> class TestHeun(SolverSuite):
        ...     def make(self):
        ...         return Heun()
    """

    error_order: ClassVar[int | None] = None

    def problem(self) -> Problem:
        """A smooth problem in float64 with a solution in closed form; rows of the state do not know each other."""
        return rotation()

    def complex_problem(self) -> Problem | None:
        """The same with a complex state; None where the solver takes none."""
        return complex_rotation() if self._is_general() else None

    def tree_problem(self) -> Problem | None:
        """The same with a tree for a state; None where the solver takes none."""
        return tree_rotation() if self._is_general() else None

    def test_order(self) -> None:
        """The global error falls as the solver's order says, within 0.2."""
        self._assert_order(self.problem())

    def test_order_in_reverse_time(self) -> None:
        """Backwards too."""
        self._assert_order(reversed_in_time(self.problem()))

    def test_order_of_a_complex_state(self) -> None:
        """For complex states too."""
        self._assert_order(self._or_skip(self.complex_problem(), "complex states"))

    def test_order_of_a_tree(self) -> None:
        """For trees too."""
        self._assert_order(self._or_skip(self.tree_problem(), "trees"))

    def test_dense_order(self) -> None:
        """Between steps the local error falls as `dense_order + 1`, within 0.25; at the ends dense output is exact."""
        solver, problem = self.make(), self.problem()

        def error(dt: float) -> float:
            t0, t1, y0, step = self._one_step(solver, problem, dt)
            theta = torch.linspace(0.05, 0.95, 19, dtype=DTYPE)
            values = self._interpolated(solver, problem, theta, t0, t1, y0, step)
            return _rms(_difference(values, problem.exact(torch.lerp(t0, t1, theta))))

        points = finest(error, [0.4 * 1.3**-i for i in range(24)], floor=1e-13, count=5)
        assert abs(slope(points) - 1 - solver.dense_order) < 0.25
        t0, t1, y0, step = self._one_step(solver, problem, 0.1)
        ends = self._interpolated(solver, problem, torch.tensor([0.0, 1.0], dtype=DTYPE), t0, t1, y0, step)
        for end, first, last in zip(leaves(ends), leaves(y0), leaves(step.y), strict=True):
            torch.testing.assert_close(end, torch.stack((first, last)), rtol=1e-12, atol=1e-13)

    def test_error_estimate_order(self) -> None:
        """The error estimate falls as `error_order` says, within 0.3, and drives step-size control to its tolerance."""
        solver, problem = self.make(), self.problem()
        self._skip_unless(solver.has_error_estimate, "has no error estimate")

        def size(dt: float) -> float:
            return _rms(self._one_step(solver, problem, dt)[3].error)

        points = finest(size, [0.4 * 1.3**-i for i in range(16)], floor=1e-13, count=4)
        assert abs(slope(points) - (self.error_order or solver.order)) < 0.3
        for rtol in (1e-3, 1e-6):
            solution = self._solve(solver, problem, PID(rtol=rtol, atol=rtol))
            assert _rms(_difference(_last(solution), problem.at(problem.t1))) < 100 * rtol

    def test_a_step_is_pure(self) -> None:
        """The same question has the same answer, bit for bit, and leaves its inputs as they are."""
        solver, problem = self.make(), self.problem()
        bound, (t0, t1), y0 = BoundField(problem.field), _times(problem, 0.1), problem.y0
        state = solver.init(bound, t0, t1, y0)
        inputs = [t0, t1, *leaves(y0), *leaves(state.carry), *leaves(state.cache)]
        before = [leaf.clone() for leaf in inputs]
        first, second = (solver.step(bound, t0, t1, y0, state) for _ in range(2))
        assert all(torch.equal(a, b) for a, b in zip(inputs, before, strict=True)), "an input was changed in place"
        for a, b in zip(_parts(first), _parts(second), strict=True):
            assert torch.equal(a, b)

    def test_the_cache_can_be_rebuilt(self) -> None:
        """What `State.cache` holds is what `init` makes of time and state; what is not, belongs into `State.carry`."""
        solver, problem = self.make(), self.problem()
        bound, (t0, t1), y0 = BoundField(problem.field), _times(problem, 0.1), problem.y0
        t2 = t1 + (t1 - t0)
        step = solver.step(bound, t0, t1, y0, solver.init(bound, t0, t2, y0))
        kept = solver.step(bound, t1, t2, step.y, step.state)
        rebuilt = solver.step(bound, t1, t2, step.y, State(step.state.carry, solver.init(bound, t1, t2, step.y).cache))
        for a, b in zip(_parts(kept), _parts(rebuilt), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-13, atol=1e-14)

    @pytest.mark.parametrize("dtype", DTYPES, ids=["float64", "float32", "bfloat16"])
    def test_dtype_and_device_are_kept(self, dtype: torch.dtype) -> None:
        """State, error estimate and gradients have the dtype and device of the state that came in."""
        solver, problem = self.make(), self.problem()
        y0 = tree_map(lambda leaf: leaf.to(dtype).requires_grad_(), problem.y0)
        ts = torch.tensor([problem.t0, problem.t1], dtype=DTYPE)
        solution = solve(problem.field.to(dtype), y0, ts, solver=solver, controller=Fixed(steps=STEPS))
        torch.stack([leaf.float().sum() for leaf in leaves(solution.ys)]).sum().backward()
        for start, leaf in zip(leaves(y0), leaves(solution.ys), strict=True):
            assert leaf.dtype == dtype and leaf.device == start.device and bool(leaf.isfinite().all())
            assert start.grad is not None and start.grad.dtype == dtype

    def test_a_sample_alone_and_in_a_batch(self) -> None:
        """With steps per sample a sample's result does not depend on its company."""
        solver, problem = self.make(), self.problem()
        controller = PID(rtol=1e-5, atol=1e-7) if solver.has_error_estimate else Fixed(steps=STEPS)
        together = _last(self._solve(solver, problem, controller, per_sample=True))
        for row in range(leaves(problem.y0)[0].shape[0]):
            one = tree_map(lambda leaf, row=row: leaf[row : row + 1], problem.y0)
            alone = _last(self._solve(solver, problem, controller, y0=one, per_sample=True))
            for a, b in zip(leaves(together), leaves(alone), strict=True):
                torch.testing.assert_close(a[row : row + 1], b, rtol=1e-12, atol=1e-13)

    def test_steps_per_sample_are_the_shared_steps(self) -> None:
        """On one grid, a time for each row gives what one time for all of them gives."""
        solver, problem = self.make(), self.problem()
        shared = _last(self._solve(solver, problem, Fixed(steps=STEPS)))
        each = _last(self._solve(solver, problem, Fixed(steps=STEPS), per_sample=True))
        for a, b in zip(leaves(shared), leaves(each), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-13)

    def test_a_finished_row_comes_out_as_it_went_in(self) -> None:
        """`t1 == t0` marks a row that is finished."""
        solver, problem = self.make(), self.problem()
        y0 = problem.y0
        rows = leaves(y0)[0].shape[0]
        t0 = torch.full((rows,), problem.t0, dtype=DTYPE)
        t1 = torch.where(torch.arange(rows) % 2 == 0, t0, t0 + 0.1)
        bound = BoundField(problem.field)
        step = solver.step(bound, t0, t1, y0, solver.init(bound, t0, t1, y0))
        for before, after in zip(leaves(y0), leaves(step.y), strict=True):
            assert torch.equal(before[::2], after[::2]) and not torch.equal(before[1::2], after[1::2])

    def test_the_field_is_asked_within_the_step_only(self) -> None:
        """No stage lies outside of the step: there may be nothing there."""
        solver, problem = self.make(), self.problem()
        (t0, t1), y0 = _times(problem, 0.1), problem.y0
        asked: list[Tensor] = []

        class Listening(BoundField):
            def time(self, t: Tensor, y: Tree) -> Tensor:
                asked.append(t.detach().double())
                return super().time(t, y)

        bound = Listening(problem.field)
        step = solver.step(bound, t0, t1, y0, solver.init(bound, t0, t1, y0))
        solver.extend(bound, t0, t1, y0, step)
        low, high = min(float(t0), float(t1)), max(float(t0), float(t1))
        assert asked and all(low <= float(t) <= high for t in asked)

    def test_gradients_are_those_of_the_steps(self) -> None:
        """Direct passes gradcheck; Checkpointed gives the same to rounding."""
        solver, problem = self.make(), self.problem()
        parameters = [p for p in [*problem.field.parameters(), *_parameters(solver)] if p.requires_grad]

        def gradients(adjoint: Any) -> list[Tensor]:
            y0 = tree_map(lambda leaf: leaf.clone().requires_grad_(), problem.y0)
            solution = self._solve(solver, problem, Fixed(steps=STEPS), y0=y0, adjoint=adjoint)
            loss = torch.stack([(leaf * leaf.detach()).sum() for leaf in leaves(solution.ys)]).sum()
            found = torch.autograd.grad(loss, [*leaves(y0), *parameters], allow_unused=True)
            return [torch.zeros(()) if g is None else g for g in found]

        for a, b in zip(gradients(Checkpointed()), gradients(Direct()), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-13)

        def last(*parts: Tensor) -> tuple[Tensor, ...]:
            rest = iter(parts)
            y0 = tree_map(lambda _: next(rest), problem.y0)
            return tuple(leaves(_last(self._solve(solver, problem, Fixed(steps=STEPS), y0=y0, adjoint=Direct()))))

        starts = tuple(leaf.clone().requires_grad_() for leaf in leaves(problem.y0))
        assert torch.autograd.gradcheck(last, starts, fast_mode=True)

    def test_a_reversible_step_can_be_undone(self) -> None:
        """`reverse` gives the state back, to rounding."""
        solver, problem = self.make(), self.problem()
        self._skip_unless(solver.reversible, "is not reversible")
        bound, (t0, t1), y0 = BoundField(problem.field), _times(problem, 0.1), problem.y0
        step = solver.step(bound, t0, t1, y0, solver.init(bound, t0, t1, y0))
        back, _ = solver.reverse(bound, t0, t1, step.y, step.state)
        for a, b in zip(leaves(back), leaves(y0), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)

    def _is_general(self) -> bool:
        accepts = self.make().accepts
        return VectorField in (accepts if isinstance(accepts, tuple) else (accepts,))

    def _skip_unless(self, capable: bool, lack: str) -> None:
        if not capable:
            pytest.skip(f"{type(self.make()).__name__} {lack}")

    def _or_skip(self, problem: Problem | None, what: str) -> Problem:
        if problem is None:
            pytest.skip(f"{type(self).__name__} gives no problem with {what}")
        return problem

    def _solve(self, solver: Solver, problem: Problem, controller: Any, y0: Tree = None, **options: Any) -> Solution:
        ts = torch.tensor([problem.t0, problem.t1], dtype=DTYPE)
        start = problem.y0 if y0 is None else y0
        return solve(problem.field, start, ts, solver=solver, controller=controller, **options)

    def _assert_order(self, problem: Problem) -> None:
        solver = self.make()
        span = abs(problem.t1 - problem.t0)

        def error(dt: float) -> float:
            controller = Fixed(steps=round(span / dt))
            with torch.no_grad():
                solution = self._solve(solver, problem, controller, record_steps=True, throw=False)
            if not solution.success:
                return math.inf  # too coarse to be stable
            assert solution.steps is not None
            times, states = solution.steps
            return _rms(_difference(states, problem.exact(times)))

        sizes = [span / round(9 * 1.3**i) for i in range(16)]
        points = finest(error, sizes, floor=1e-13, count=4)
        assert abs(slope(points) - solver.order) < 0.2

    def _one_step(self, solver: Solver, problem: Problem, dt: float) -> tuple[Tensor, Tensor, Tree, Step]:
        bound, (t0, t1) = BoundField(problem.field), _times(problem, dt)
        y0 = problem.at(t0)
        with torch.no_grad():
            return t0, t1, y0, solver.step(bound, t0, t1, y0, solver.init(bound, t0, t1, y0))

    def _interpolated(
        self, solver: Solver, problem: Problem, theta: Tensor, t0: Tensor, t1: Tensor, y0: Tree, step: Step
    ) -> Tree:
        with torch.no_grad():
            dense = solver.extend(BoundField(problem.field), t0, t1, y0, step)
            front = [tree_map(lambda leaf: leaf.unsqueeze(0), part) for part in (y0, step.y, dense)]
            return solver.interpolate(theta, t0.expand_as(theta), t1.expand_as(theta), *front)


def _times(problem: Problem, dt: float) -> tuple[Tensor, Tensor]:
    """A step of this size, somewhere inside the span."""
    sign = 1.0 if problem.t1 > problem.t0 else -1.0
    start = problem.t0 + 0.15 * (problem.t1 - problem.t0)
    return torch.tensor(start, dtype=DTYPE), torch.tensor(start + sign * dt, dtype=DTYPE)


def _last(solution: Solution) -> Tree:
    return tree_map(lambda leaf: leaf[-1], solution.ys)


def _difference(a: Tree, b: Tree) -> Tree:
    return tree_map(torch.sub, a, b)


def _rms(tree: Tree) -> float:
    parts = leaves(tree)
    total = sum(float(part.detach().abs().square().sum()) for part in parts)
    return math.sqrt(total / sum(part.numel() for part in parts))


def _parts(step: Step) -> list[Tensor]:
    return [leaf for part in (step.y, step.error, step.state, step.dense) for leaf in leaves(part)]


def _parameters(solver: Solver) -> list[Tensor]:
    return list(solver.parameters()) if isinstance(solver, torch.nn.Module) else []
