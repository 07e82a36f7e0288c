"""What every solver has to do."""

from __future__ import annotations

import torch
from torch import Tensor

from torchdyn_core.adjoint import Direct
from torchdyn_core.controller import PID, Fixed
from torchdyn_core.testing.solver_compiled import CompiledSuite
from torchdyn_core.testing.solver_order import OrderSuite
from torchdyn_core.testing.solver_step import StepSuite
from torchdyn_core.testing.steps import (
    STEPS,
    in_double,
    last,
    reports,
    solved,
)
from torchdyn_core.tree import leaves, tree_map

__all__ = ["SolverSuite"]

DTYPES = (torch.float64, torch.float32, torch.bfloat16)


class SolverSuite(StepSuite, CompiledSuite, OrderSuite, suite=True):
    """Order, error estimate, dense output, purity, dtypes, devices, rows, trees, gradients, compiled solves: all of it.

    What the solver declares of itself decides which tests apply: `has_error_estimate`, `reversible`, `accepts`. A
    solver that steps a field class of its own gives a `problem` of that class, and `complex_problem` and `tree_problem`
    where it steps such states. The parameters of one that is an `nn.Module` are cast as the states are.

    Attributes:
        error_order: The error estimate shrinks as this power of the step size. Default: the solver's order, as that of
            an embedded method of one order less.
        compiles: Whether compiled solves are tried: not where those of the problem do not compile.

    Example:
        >>> from torchdyn_core import Heun
        >>> from torchdyn_core.testing import SolverSuite
        >>> class TestHeun(SolverSuite):
        ...     def make(self):
        ...         return Heun()
    """

    def test_a_sample_alone_and_in_a_batch(self) -> None:
        """With steps per sample a sample's result does not depend on its company."""
        solver, problem = in_double(self.make()), self.problem()
        controller = PID(rtol=1e-5, atol=1e-7) if solver.has_error_estimate else Fixed(steps=STEPS)
        together = last(solved(solver, problem, controller, per_sample=True))
        for row in range(leaves(problem.y0)[0].shape[0]):
            one = tree_map(lambda leaf, row=row: leaf[row : row + 1], problem.y0)
            alone = last(solved(solver, problem, controller, y0=one, per_sample=True))
            for a, b in zip(leaves(together), leaves(alone), strict=True):
                torch.testing.assert_close(a[row : row + 1], b, rtol=1e-12, atol=1e-13)

    def test_gradients_of_times(self) -> None:
        """Along the first time all steps move; the last one ends at the last time; reports lie in between."""
        solver, problem = in_double(self.make()), self.problem()
        # a grid of a given size, the last step cut to half of it: moving the ends leaves its size as it is
        controller = Fixed(dt=abs(problem.t1 - problem.t0) / (STEPS - 0.5))

        def values(ts: Tensor) -> tuple[Tensor, ...]:
            return tuple(leaves(solved(solver, problem, controller, ts=ts, adjoint=Direct()).ys))

        assert torch.autograd.gradcheck(values, reports(problem).requires_grad_(), fast_mode=True)
