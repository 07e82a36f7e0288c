"""What a solver has to do in a compiled solve: all that it does in an eager one."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from torchdyn_core.controller import PID, Fixed
from torchdyn_core.solution import Solution
from torchdyn_core.testing.compiled import agree_on_steps, skip_unless_tried
from torchdyn_core.testing.problems import Problem
from torchdyn_core.testing.solver_problem import ProblemSuite, or_skip
from torchdyn_core.testing.steps import STEPS, in_double, parameters, reports, skip_unless, solved
from torchdyn_core.tree import flatten, leaves, unflatten

__all__ = ["CompiledSuite"]

CASES = ("adaptive", "fixed", "jump", "per sample", "tree")


class CompiledSuite(ProblemSuite, suite=True):
    """The part of `SolverSuite` that compiles.

    Attributes:
        compiles: Whether compiled solves are tried: not where those of its problems do not compile.
        tolerance: Of adaptive steps.
    """

    compiles: ClassVar[bool] = True
    tolerance: ClassVar[float] = 1e-6

    @pytest.mark.parametrize("case", CASES)
    def test_compiled_solves_are_eager_ones(self, case: str) -> None:
        """`compile="require"` takes the same steps to the same reports.

        To 1e-12 where steps are fixed. Where they are adaptive rounding may turn a decision: then to ten times the
        tolerance, in 1 % more or fewer steps.

        Tried is one case: adaptive steps, or fixed ones where there is no error estimate. All of them are with
        `TORCHDYN_COMPILED_CASES=all` in the environment, since each takes seconds to compile.
        """
        self._choose(case == self._usual(), case)
        problem = or_skip(self, self.tree_problem(), "trees") if case == "tree" else self.problem()
        self._compare(problem, case, reports(problem), gradients=False)

    @pytest.mark.parametrize("last", [True, False], ids=["of the last state", "of reports"])
    def test_gradients_of_compiled_solves(self, last: bool) -> None:
        """Nor do gradients differ, of the state and of what field and solver learn.

        To 1e-10 where steps are fixed. Tried with `TORCHDYN_COMPILED_CASES=all` in the environment. Without reports on
        the way steps are replayed by `advance`.
        """
        self._choose(False, self._usual())
        problem = self.problem()
        self._compare(problem, self._usual(), reports(problem)[:: 2 if last else 1], gradients=True)

    def _usual(self) -> str:
        return "adaptive" if self.make().has_error_estimate else "fixed"

    def _choose(self, usual: bool, case: str) -> None:
        """Skip what does not apply, or is not asked for."""
        solver = self.make()
        skip_unless(self.compiles, solver, "is not compiled in this suite")
        skip_unless(solver.has_error_estimate or case != "adaptive", solver, "has no error estimate")
        skip_unless_tried(usual)

    def _compare(self, problem: Problem, case: str, ts: Tensor, *, gradients: bool) -> None:
        """A compiled solve beside an eager one."""
        solver = in_double(self.make())
        adapts = solver.has_error_estimate and case != "fixed"
        jumps = [problem.t0 + 0.6 * (problem.t1 - problem.t0)] if case == "jump" else None
        control = (
            PID(rtol=self.tolerance, atol=self.tolerance, jump_ts=jumps)
            if adapts
            else Fixed(steps=STEPS, jump_ts=jumps)
        )
        spec = flatten(problem.y0)[1]

        def outcome(compile: bool | str) -> tuple[Solution, list[Tensor]]:
            starts = [leaf.detach().clone().requires_grad_(gradients) for leaf in leaves(problem.y0)]
            inputs = [*starts, *parameters(problem.field), *parameters(solver)] if gradients else []
            options: dict[str, Any] = {"per_sample": case == "per sample", "compile": compile}
            with torch.set_grad_enabled(gradients):
                solution = solved(solver, problem, control, unflatten(starts, spec), ts, **options)
            loss = sum((leaf.abs() ** 3).sum() + leaf.sum() for leaf in leaves(solution.ys))
            return solution, list(torch.autograd.grad(loss, inputs)) if gradients else []  # type: ignore[arg-type]

        (eager, wanted), (compiled, found) = outcome(False), outcome("require")
        same = agree_on_steps(compiled, eager, fixed=not adapts)
        assert torch.equal(compiled.valid, eager.valid)
        # the state is rounded by 1e-16, an error estimate of 1e-6 thus by 1e-10 of itself, and so are step sizes
        bound = 1e-12 if not adapts else 1e-9 if same else 10 * self.tolerance
        for a, b in zip(leaves(compiled.ys), leaves(eager.ys), strict=True):
            torch.testing.assert_close(a, b, rtol=bound, atol=bound)
        for a, b in zip(found, wanted, strict=True):
            torch.testing.assert_close(a, b, rtol=100 * bound, atol=100 * bound)
