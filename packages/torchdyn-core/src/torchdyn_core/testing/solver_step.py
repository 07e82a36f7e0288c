"""What a step has to do, whatever the solver steps."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from torchdyn_core.adjoint import Adjoint, Checkpointed, Direct
from torchdyn_core.binding import BoundField
from torchdyn_core.controller import Fixed
from torchdyn_core.solve import solve
from torchdyn_core.solver import Solver, State
from torchdyn_core.testing.problems import Problem
from torchdyn_core.testing.solver_problem import ProblemSuite
from torchdyn_core.testing.steps import (
    DTYPE,
    STEPS,
    ask,
    holdings,
    in_double,
    interpolated,
    last,
    parameters,
    parts_of,
    reports,
    skip_unless,
    solved,
    times,
)
from torchdyn_core.tree import Tree, flatten, leaves, tree_map, unflatten

__all__ = ["StepSuite"]

DTYPES = (torch.float64, torch.float32, torch.bfloat16)


class StepSuite(ProblemSuite, suite=True):
    """Purity, costs, dtypes, devices, rows, gradients: the contract of a step.

    It knows of no order: suites for solvers of other kinds of equations add what that is for them.

    Example:
        >>> from torchdyn_core import Heun
        >>> from torchdyn_core.testing import StepSuite
        >>> class TestHeun(StepSuite):
        ...     def make(self):
        ...         return Heun()
    """

    def test_a_step_is_pure(self) -> None:
        """The same question has the same answer, bit for bit, and leaves its inputs as they are."""
        solver, problem = in_double(self.make()), self.problem()
        bound, (t0, t1), y0 = BoundField(problem.field), times(problem, 0.1), problem.y0
        t2 = t1 + (t1 - t0)
        after = ask(solver, bound, t0, t1, y0)
        for question in ((t0, t1, y0, solver.init(bound, t0, t2, y0)), (t1, t2, after.y, after.state)):
            inputs = leaves(question)
            before = [leaf.clone() for leaf in inputs]
            first, second = (solver.step(bound, *question) for _ in range(2))
            assert all(torch.equal(a, b) for a, b in zip(inputs, before, strict=True)), "an input was changed in place"
            for a, b in zip(parts_of(first), parts_of(second), strict=True):
                assert torch.equal(a, b)

    def test_nothing_is_kept_on_the_solver(self) -> None:
        """A solver answers as one that was asked nothing before, and holds what it held.

        What it builds for its very first step, once and for all, may stay on it.
        """
        problem = self.problem()
        bound, (t0, t1) = BoundField(problem.field), times(problem, 0.1)
        y0, t2 = problem.at(t0), t1 + (t1 - t0)
        other = tree_map(lambda leaf: 0.9 * leaf, y0)
        questions = [(t0, t1, y0), (t1, t2, other), (t0, t1, other), (t0, t1, y0)]
        # backwards, or what a class keeps for all of its instances would come to the same
        fresh = [parts_of(ask(_made(self), bound, *question)) for question in questions[::-1]][::-1]
        solver, answers, held = _made(self), [], []
        known: list[dict[int, Any]] = [{} for _ in questions]
        for question, met in zip(questions, known, strict=True):
            answers.append(parts_of(ask(solver, bound, *question)))
            held.append(holdings(solver, met))
        assert held[1:] == held[:-1], f"{type(solver).__name__} changes while it steps; wanted State.carry for that"
        for got, want in zip(answers, fresh, strict=True):
            assert all(torch.equal(a, b) for a, b in zip(got, want, strict=True)), "what was asked before shows"

    def test_a_step_counts_its_evaluations(self) -> None:
        """`Step.cost` is how often it asked the field, replayed or not: a compiled loop cannot count calls."""
        solver, problem = in_double(self.make()), self.problem()
        bound, (t0, t1), y0 = BoundField(problem.field), times(problem, 0.1), problem.y0
        t2 = t1 + (t1 - t0)
        first = solver.init(bound, t0, t2, y0)
        after = solver.step(bound, t0, t1, y0, first)
        for method in (solver.step, solver.advance):
            for question in ((t0, t1, y0, first), (t1, t2, after.y, after.state)):
                before = bound.calls.count
                assert method(bound, *question).cost == bound.calls.count - before

    def test_the_cache_can_be_rebuilt(self) -> None:
        """What `State.cache` holds is what `init` makes of time and state; what is not, belongs into `State.carry`."""
        solver, problem = in_double(self.make()), self.problem()
        bound, (t0, t1), y0 = BoundField(problem.field), times(problem, 0.1), problem.y0
        t2 = t1 + (t1 - t0)
        step = solver.step(bound, t0, t1, y0, solver.init(bound, t0, t2, y0))
        kept = solver.step(bound, t1, t2, step.y, step.state)
        rebuilt = solver.step(bound, t1, t2, step.y, State(step.state.carry, solver.init(bound, t1, t2, step.y).cache))
        for a, b in zip(parts_of(kept), parts_of(rebuilt), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-13, atol=1e-14)

    @pytest.mark.parametrize("dtype", DTYPES, ids=["float64", "float32", "bfloat16"])
    def test_dtype_and_device_are_kept(self, dtype: torch.dtype) -> None:
        """State and error estimate have the dtype and device of the state that came in, which gets its gradient."""
        problem = self.problem()
        for device in ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",):
            solver, field = (_moved(thing, device, dtype) for thing in (self.make(), problem.field))
            y0 = tree_map(lambda leaf, device=device: leaf.to(device, dtype).requires_grad_(), problem.y0)
            ts = torch.tensor([problem.t0, problem.t1], dtype=DTYPE)
            solution = solve(field, y0, ts, solver=solver, controller=Fixed(steps=STEPS))
            t0, t1 = (t.to(device) for t in times(problem, 0.1))
            step = ask(solver, BoundField(field), t0, t1, y0)
            for leaf in [*leaves(solution.ys), *leaves(step.y), *leaves(step.error)]:
                assert leaf.dtype == dtype and leaf.device == leaves(y0)[0].device and bool(leaf.isfinite().all())
            torch.stack([leaf.float().sum() for leaf in leaves(last(solution))]).sum().backward()
            for start in leaves(y0):
                assert start.grad is not None and bool(start.grad.isfinite().all()) and bool(start.grad.any())

    @pytest.mark.parametrize("device", ["meta", "cuda", "mps"])
    def test_a_step_stays_on_its_device(self, device: str) -> None:
        """All that a step gives is where the state is, in the shapes and dtypes that it has on the CPU.

        On the meta device tensors have no values: a step that reads one as a Python number, by `.item()`, `float` or
        `if`, raises there. It would wait for a GPU at every step, and no compiler could follow it; wanted are tensors,
        and `torch.where`.
        """
        if device != "meta" and not getattr(torch, device).is_available():
            pytest.skip(f"there is no {device} device")
        real = torch.float32 if device == "mps" else DTYPE  # it has no float64
        for rows in (False, True):
            got, want = (_answers(self.make(), self.problem(), place, real, rows) for place in (device, "cpu"))
            for a, b in zip(got, want, strict=True):
                assert (a.device.type, a.shape, a.dtype) == (device, b.shape, b.dtype)
                if device != "meta":
                    torch.testing.assert_close(a.cpu(), b)

    def test_steps_per_sample_are_the_shared_steps(self) -> None:
        """On one grid, a time for each row gives what one time for all of them gives."""
        solver, problem = in_double(self.make()), self.problem()
        shared = last(solved(solver, problem, Fixed(steps=STEPS)))
        each = last(solved(solver, problem, Fixed(steps=STEPS), per_sample=True))
        for a, b in zip(leaves(shared), leaves(each), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-13)

    def test_a_finished_row_comes_out_as_it_went_in(self) -> None:
        """`t1 == t0` marks a row that is finished."""
        solver, problem = in_double(self.make()), self.problem()
        y0 = problem.y0
        rows = leaves(y0)[0].shape[0]
        t0 = torch.full((rows,), problem.t0, dtype=DTYPE)
        t1 = torch.where(torch.arange(rows) % 2 == 0, t0, t0 + 0.1)
        step = ask(solver, BoundField(problem.field), t0, t1, y0)
        for before, after in zip(leaves(y0), leaves(step.y), strict=True):
            assert torch.equal(before[::2], after[::2]) and not torch.equal(before[1::2], after[1::2])

    def test_the_field_is_asked_within_the_step_only(self) -> None:
        """No stage lies outside of the step: there may be nothing there."""
        solver, problem = in_double(self.make()), self.problem()
        (t0, t1), y0 = times(problem, 0.1), problem.y0
        asked: list[Tensor] = []

        class Listening(BoundField):
            def time(self, t: Tensor, y: Tree) -> Tensor:
                asked.append(t.detach().double())
                return super().time(t, y)

        bound = Listening(problem.field)
        solver.extend(bound, t0, t1, y0, ask(solver, bound, t0, t1, y0))
        low, high = min(float(t0), float(t1)), max(float(t0), float(t1))
        assert asked and all(low <= float(t) <= high for t in asked)

    def test_gradients_are_those_of_the_steps(self) -> None:
        """Direct passes gradcheck for the state and for what field and solver learn; Checkpointed gives the same.

        At a report on the way as at the end. A gradient that is zero, or missing, tests nothing.
        """
        solver, problem = in_double(self.make()), self.problem()
        learnt = {"field": parameters(problem.field), "solver": parameters(solver)}
        spec = flatten(problem.y0)[1]
        starts = [leaf.detach().clone().requires_grad_() for leaf in leaves(problem.y0)]
        inputs = [*starts, *learnt["field"], *learnt["solver"]]

        def values(adjoint: Adjoint, *parts: Tensor) -> tuple[Tensor, ...]:
            y0 = unflatten(parts[: len(starts)], spec)  # parameters are perturbed where they are
            options = {"y0": y0, "ts": reports(problem), "adjoint": adjoint}
            return tuple(leaf[1:] for leaf in leaves(solved(solver, problem, Fixed(steps=STEPS), **options).ys))

        def gradients(adjoint: Adjoint) -> list[Tensor | None]:
            loss = sum((leaf.abs() ** 3).sum() + leaf.real.sum() for leaf in values(adjoint, *starts))
            return list(torch.autograd.grad(loss, inputs, allow_unused=True))  # type: ignore[arg-type]

        found = gradients(Direct())
        for whose, group in {"state": starts, **learnt}.items():
            own = [gradient for part, gradient in zip(inputs, found, strict=True) if any(part is p for p in group)]
            assert all(gradient is not None for gradient in own), f"a gradient misses a tensor of the {whose}"
            assert not own or any(bool(g.any()) for g in own if g is not None), f"no gradient reaches the {whose}"
        for a, b in zip(gradients(Checkpointed()), found, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-13)
        assert torch.autograd.gradcheck(lambda *parts: values(Direct(), *parts), inputs, fast_mode=True)

    def test_a_reversible_step_can_be_undone(self) -> None:
        """`reverse` gives the state back, to rounding."""
        solver, problem = in_double(self.make()), self.problem()
        skip_unless(solver.reversible, solver, "is not reversible")
        bound, (t0, t1), y0 = BoundField(problem.field), times(problem, 0.1), problem.y0
        step = ask(solver, bound, t0, t1, y0)
        back, _ = solver.reverse(bound, t0, t1, step.y, step.state)
        for a, b in zip(leaves(back), leaves(y0), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def _made(suite: StepSuite) -> Solver:
    """The solver, the same each time where it begins with random numbers."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return in_double(suite.make())


def _moved(thing: Any, device: str, dtype: torch.dtype) -> Any:
    """A copy of a field or a solver, what it learns on a device and in a dtype."""
    return copy.deepcopy(thing).to(device, dtype) if isinstance(thing, torch.nn.Module) else thing


def _answers(solver: Solver, problem: Problem, device: str, real: torch.dtype, rows: bool) -> list[Tensor]:
    """All that a solver gives back for one step, asked on a device, with a time for each row or one for all."""
    solver, field = (_moved(thing, device, real) for thing in (solver, problem.field))
    y0 = tree_map(lambda leaf: leaf.to(device, real.to_complex() if leaf.is_complex() else real), problem.y0)
    count = leaves(y0)[0].shape[0]
    t0, t1 = (t.to(device, real).expand(count if rows else ()) for t in times(problem, 0.1))
    bound = BoundField(field)
    state = solver.init(bound, t0, t1, y0)
    step = solver.step(bound, t0, t1, y0, state)
    replayed = solver.advance(bound, t0, t1, y0, state)
    found = [state, *step[:4], replayed.y, replayed.state.carry, solver.extend(bound, t0, t1, y0, step)]
    if solver.has_error_estimate:
        found.append(solver.slope(bound, t0, y0, state))
    if solver.reversible:
        found.append(solver.reverse(bound, t0, t1, step.y, step.state))
    if not rows:
        theta = torch.linspace(0.0, 1.0, 3, dtype=real, device=device)
        found.append(interpolated(solver, bound, theta, t0, t1, y0, step))
    return [leaf.detach() for part in found for leaf in leaves(part)]
